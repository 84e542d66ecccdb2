package events

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/subjects"
)

// maxTopics bounds one stream.
const maxTopics = 200

// topic is one source of a stream.
type topic struct {
	kind string // fleet, runs, jobs, job, queue, schedules or log
	id   string // of a job or run
	from int64  // of a log: the line to begin at, below 0: so many before its end
	at   string // the position, as ids have it; "" at the beginning
}

// ended is the position of a log whose end was sent.
const ended = "end"

// name is the topic's in ids.
func (t *topic) name() string {
	if t.id == "" {
		return t.kind
	}
	return t.kind + ":" + t.id
}

// readTopics reads what a request wants: fleet,runs,jobs,job:ID,queue,schedules,log:ID@LINE.
func readTopics(text string) ([]*topic, error) {
	var all []*topic
	seen := map[string]bool{}
	for _, word := range strings.Split(text, ",") {
		t, err := readTopic(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		if seen[t.name()] {
			return nil, fmt.Errorf("topics: %s is there twice", t.name())
		}
		seen[t.name()] = true
		all = append(all, t)
	}
	if len(all) > maxTopics {
		return nil, fmt.Errorf("topics: there are %d, %d at most", len(all), maxTopics)
	}
	return all, nil
}

func readTopic(word string) (*topic, error) {
	kind, rest, has := strings.Cut(word, ":")
	t := &topic{kind: kind, id: rest}
	switch kind {
	case "fleet", "runs", "jobs", "queue", "schedules":
		if has {
			return nil, fmt.Errorf("topics: %s takes no id", kind)
		}
		return t, nil
	case "log":
		id, line, hasLine := strings.Cut(rest, "@")
		t.id = id
		if hasLine {
			var err error
			if t.from, err = strconv.ParseInt(line, 10, 64); err != nil || t.from == 0 {
				return nil, fmt.Errorf("topics: %q: behind @ is the number of a line from 1, or -N for the last N", word)
			}
		}
	case "job":
	default:
		return nil, fmt.Errorf("topics: unknown topic %q: it is fleet, runs, jobs, job:ID, queue, schedules or log:ID", word)
	}
	if err := subjects.RunID(t.id); err != nil {
		return nil, fmt.Errorf("topics: %q: %w", word, err)
	}
	return t, nil
}

// resume puts the topics where a client left off. A position that is of no use is
// as none; it says whether there was one.
func resume(all []*topic, last string) (lost bool) {
	at := map[string]string{}
	for _, part := range strings.Split(last, ",") {
		if name, where, ok := strings.Cut(part, "="); ok {
			at[name] = where
		}
	}
	for _, t := range all {
		where := at[t.name()]
		if t.kind == "log" {
			if _, ok := tails.PlaceOf(where); ok || where == ended {
				t.at = where
			}
		} else if _, err := strconv.ParseUint(where, 10, 64); err == nil {
			t.at = where
		}
	}
	return last != "" && len(at) == 0
}

// idOf is the id of an event: where every topic stands that has begun.
func idOf(all []*topic) string {
	var b strings.Builder
	for _, t := range all {
		if t.at == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(t.name())
		b.WriteByte('=')
		b.WriteString(t.at)
	}
	return b.String()
}

// allEnded says whether nothing can come any more.
func allEnded(all []*topic) bool {
	for _, t := range all {
		if t.at != ended {
			return false
		}
	}
	return true
}
