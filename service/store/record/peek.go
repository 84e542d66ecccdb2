package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// Peeked is what a list must know of a record to leave it out.
type Peeked struct {
	ID      []byte // part of the record's own memory
	State   pb.State
	Created int64 // Unix, ns; 0 if there is none
	Fits    bool  // it has the tags, the runner and the group that were asked for
}

// Traits are what never changes of a run, and what one can ask for: empty ones
// are any.
type Traits struct {
	Tags          map[string]string
	Runner, Group string
}

// None says whether every run has them.
func (t Traits) None() bool { return len(t.Tags) == 0 && t.Runner == "" && t.Group == "" }

// errOdd: the JSON isn't in the form that we write.
var errOdd = errors.New("not a record")

// Peek reads of a record's JSON only what a list needs. Decoding ten thousand
// records in full would take longer than reading them from the server.
func Peek(body []byte, want Traits) (Peeked, error) {
	p, err := peekFast(body, want)
	if err == nil {
		return p, nil
	}
	run, err := Decode(body)
	if err != nil {
		return Peeked{}, err
	}
	p = Peeked{ID: []byte(run.GetId()), State: run.GetState(), Fits: want.Fit(run)}
	if run.GetCreated() != nil {
		p.Created = run.GetCreated().AsTime().UnixNano()
	}
	return p, nil
}

// Fit says whether a run has them.
func (t Traits) Fit(run *pb.Run) bool {
	for k, v := range t.Tags {
		if got, ok := run.GetTags()[k]; !ok || got != v {
			return false
		}
	}
	return (t.Runner == "" || run.GetRunner() == t.Runner) && (t.Group == "" || run.GetGroup() == t.Group)
}

// peekFast reads the compact form that pb.MarshalJSON writes and knows no other.
func peekFast(b []byte, want Traits) (Peeked, error) {
	p := Peeked{Fits: true}
	const id, state, created, tags, runner, group, all = 1, 2, 4, 8, 16, 32, 63
	found := 0
	if len(want.Tags) == 0 {
		found |= tags
	}
	if want.Runner == "" {
		found |= runner
	}
	if want.Group == "" {
		found |= group
	}
	fits := func(bit int, fits bool) {
		found |= bit
		p.Fits = p.Fits && fits
	}
	err := eachField(b, func(key, value []byte) (bool, error) {
		var err error
		switch string(key) {
		case "id":
			p.ID, err = plainString(value)
			found |= id
		case "state":
			p.State, err = stateOf(value)
			found |= state
		case "created":
			p.Created, err = nanosOf(value)
			found |= created
		case "runner", "group":
			var name []byte
			if name, err = plainString(value); string(key) == "runner" {
				fits(runner, want.Runner == "" || string(name) == want.Runner)
			} else {
				fits(group, want.Group == "" || string(name) == want.Group)
			}
		case "tags":
			if len(want.Tags) > 0 {
				var have bool
				have, err = tagsIn(value, want.Tags)
				fits(tags, have)
			}
		}
		return found != all, err
	})
	if err == nil && found&id == 0 {
		err = errOdd
	}
	const wanted = tags | runner | group
	p.Fits = p.Fits && found&wanted == wanted
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
