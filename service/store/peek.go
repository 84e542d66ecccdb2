package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// peeked is what a list must know of a record to leave it out.
type peeked struct {
	id      []byte // part of the record's own memory
	state   pb.State
	created int64 // Unix, ns; 0 if there is none
	fits    bool  // it has the tags, the runner and the group that were asked for
}

// traits are what never changes of a run, and what one can ask for: empty ones
// are any.
type traits struct {
	tags          map[string]string
	runner, group string
}

// none says whether every run has them.
func (t traits) none() bool { return len(t.tags) == 0 && t.runner == "" && t.group == "" }

// errOdd: the JSON isn't in the form that we write.
var errOdd = errors.New("not a record")

// peek reads of a record's JSON only what a list needs. Decoding ten thousand
// records in full would take longer than reading them from the server.
func peek(body []byte, want traits) (peeked, error) {
	p, err := peekFast(body, want)
	if err == nil {
		return p, nil
	}
	run, err := decode(body)
	if err != nil {
		return peeked{}, err
	}
	p = peeked{id: []byte(run.GetId()), state: run.GetState(), fits: want.fit(run)}
	if run.GetCreated() != nil {
		p.created = run.GetCreated().AsTime().UnixNano()
	}
	return p, nil
}

func (t traits) fit(run *pb.Run) bool {
	for k, v := range t.tags {
		if got, ok := run.GetTags()[k]; !ok || got != v {
			return false
		}
	}
	return (t.runner == "" || run.GetRunner() == t.runner) && (t.group == "" || run.GetGroup() == t.group)
}

// peekFast reads the compact form that pb.MarshalJSON writes and knows no other.
func peekFast(b []byte, want traits) (peeked, error) {
	p := peeked{fits: true}
	const id, state, created, tags, runner, group, all = 1, 2, 4, 8, 16, 32, 63
	found := 0
	if len(want.tags) == 0 {
		found |= tags
	}
	if want.runner == "" {
		found |= runner
	}
	if want.group == "" {
		found |= group
	}
	fits := func(bit int, fits bool) {
		found |= bit
		p.fits = p.fits && fits
	}
	err := eachField(b, func(key, value []byte) (bool, error) {
		var err error
		switch string(key) {
		case "id":
			p.id, err = plainString(value)
			found |= id
		case "state":
			p.state, err = stateOf(value)
			found |= state
		case "created":
			p.created, err = nanosOf(value)
			found |= created
		case "runner", "group":
			var name []byte
			if name, err = plainString(value); string(key) == "runner" {
				fits(runner, want.runner == "" || string(name) == want.runner)
			} else {
				fits(group, want.group == "" || string(name) == want.group)
			}
		case "tags":
			if len(want.tags) > 0 {
				var have bool
				have, err = tagsIn(value, want.tags)
				fits(tags, have)
			}
		}
		return found != all, err
	})
	if err == nil && found&id == 0 {
		err = errOdd
	}
	const traits = tags | runner | group
	p.fits = p.fits && found&traits == traits
	return p, err
}

func stateOf(value []byte) (pb.State, error) {
	name, err := plainString(value)
	if err != nil {
		return 0, err
	}
	n, ok := pb.State_value[string(name)]
	if !ok {
		return 0, errOdd
	}
	return pb.State(n), nil
}

func nanosOf(value []byte) (int64, error) {
	s, err := plainString(value)
	if err != nil {
		return 0, err
	}
	t, err := time.Parse(time.RFC3339Nano, string(s))
	return t.UnixNano(), err
}

func tagsIn(object []byte, want map[string]string) (bool, error) {
	matched := 0
	err := eachField(object, func(key, value []byte) (bool, error) {
		k, err := anyString(key)
		if err != nil {
			return false, err
		}
		if wanted, ok := want[string(k)]; ok {
			if value[0] != '"' {
				return false, errOdd
			}
			v, err := anyString(value[1 : len(value)-1])
			if err != nil {
				return false, err
			}
			if string(v) == wanted {
				matched++
			}
		}
		return true, nil
	})
	return matched == len(want), err
}

// plainString takes the quotes off a string that has no escapes.
func plainString(value []byte) ([]byte, error) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil, errOdd
	}
	return value[1 : len(value)-1], nil
}

// anyString resolves the escapes of what stood between quotes.
func anyString(inner []byte) ([]byte, error) {
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	var s string
	if err := json.Unmarshal([]byte(`"`+string(inner)+`"`), &s); err != nil {
		return nil, errOdd
	}
	return []byte(s), nil
}

// eachField calls f with each key (what stands between its quotes) and the raw
// value of a JSON object without white space, until f says stop.
func eachField(b []byte, f func(key, value []byte) (more bool, err error)) error {
	if len(b) < 2 || b[0] != '{' {
		return errOdd
	}
	if b[1] == '}' {
		return nil
	}
	for i := 0; ; {
		// b[i] is the brace or the comma before a key.
		keyEnd := stringEnd(b, i+1)
		if keyEnd < 0 || keyEnd >= len(b) || b[keyEnd] != ':' {
			return errOdd
		}
		end := valueEnd(b, keyEnd+1)
		if end < 0 || end >= len(b) {
			return errOdd
		}
		more, err := f(b[i+2:keyEnd-1], b[keyEnd+1:end])
		if err != nil || !more {
			return err
		}
		switch b[end] {
		case ',':
			i = end
		case '}':
			return nil
		default:
			return errOdd
		}
	}
}

// stringEnd is the index after the string that begins at i, -1 if there is none.
func stringEnd(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		escapes := 0
		for b[i-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// valueEnd is the index after the value that begins at i, -1 if there is none.
func valueEnd(b []byte, i int) int {
	depth := 0
	for start := i; i < len(b); {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return after(start, i)
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return after(start, i)
			}
		}
		i++
	}
	return -1
}

// after refuses an empty value.
func after(start, end int) int {
	if start == end {
		return -1
	}
	return end
}
