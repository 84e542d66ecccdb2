package fan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// newFan is a fan-out to query on a server of its own; what it tells goes to told.
func newFan(t *testing.T, told *[]Part) *Fan {
	t.Helper()
	nc := rig.Connect(t, rig.Memory(t))
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	l := link.New(link.Config{NC: nc, JS: rig.JetStream(t, nc), Space: space, Timeout: rig.Patience})
	return &Fan{Link: l, Verb: subjects.Query, Scope: subjects.All, Body: []byte("body"), Each: func(p Part) bool {
		*told = append(*told, p)
		return true
	}}
}

// runner answers on the subjects of a runner, by a function of the request.
func runner(t *testing.T, f *Fan, name string, answer func(*nats.Msg) []byte) {
	t.Helper()
	for _, scope := range []subjects.Scope{subjects.All, subjects.At(name)} {
		_, err := f.Link.NC.Subscribe(f.Link.Space.Request(f.Verb, scope), func(m *nats.Msg) {
			if body := answer(m); body != nil {
				_ = m.RespondMsg(&nats.Msg{Data: body, Header: nats.Header{subjects.HeaderRunner: []string{name}}})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Link.NC.Flush(); err != nil {
		t.Fatal(err)
	}
}

func fine(*nats.Msg) []byte { return []byte("{}") }

func mute(*nats.Msg) []byte { return nil }

// words are the parts in words, by name.
func words(told []Part) (all []string) {
	for _, p := range told {
		word := p.Runner
		switch {
		case p.Missing != nil:
			word += " missing"
		case p.Skipped:
			word += " skipped"
		case !p.Expected:
			word += " unexpected"
		}
		all = append(all, word)
	}
	slices.Sort(all)
	return all
}

func TestEverybodyIsToldOf(t *testing.T) {
	t.Parallel()
	for _, oneByOne := range []bool{false, true} {
		var told []Part
		f := newFan(t, &told)
		f.OneByOne = oneByOne
		runner(t, f, "a", fine)
		runner(t, f, "b", fine)
		if err := f.Run(t.Context(), []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		if got := words(told); !slices.Equal(got, []string{"a", "b"}) || !f.Seen("a") || f.Seen("c") || f.Short() != 0 {
			t.Errorf("one by one %t: got %q", oneByOne, got)
		}
		for _, p := range told {
			if string(p.Reply.Data) != "{}" || p.Asked.IsZero() || p.Elapsed < 0 {
				t.Errorf("got %+v", p)
			}
		}
	}
}

// Who is mute is missing when the time is over.
func TestMissing(t *testing.T) {
	t.Parallel()
	for _, oneByOne := range []bool{false, true} {
		var told []Part
		f := newFan(t, &told)
		f.OneByOne, f.Timeout = oneByOne, 50*time.Millisecond
		runner(t, f, "b", mute)
		runner(t, f, "a", mute)
		if err := f.Run(t.Context(), []string{"b", "a"}); err != nil {
			t.Fatal(err)
		}
		if got := words(told); !slices.Equal(got, []string{"a missing", "b missing"}) || told[0].Runner != "a" {
			t.Errorf("one by one %t: got %q, want them by name", oneByOne, got)
		}
		for _, p := range told {
			if want := "no answer from runner " + p.Runner + " in 50ms"; !errors.Is(p.Missing, link.ErrNoAnswer) || p.Missing.Error() != want {
				t.Errorf("got %v, want %s", p.Missing, want)
			}
		}
	}
}

// Where the server knows that nobody listens, nobody is waited for.
func TestAbsent(t *testing.T) {
	t.Parallel()
	for _, oneByOne := range []bool{false, true} {
		var told []Part
		f := newFan(t, &told)
		f.OneByOne = oneByOne // and the time would be a minute
		if oneByOne {
			runner(t, f, "a", fine)
		}
		if err := f.Run(t.Context(), []string{"a", "away"}); err != nil {
			t.Fatal(err)
		}
		want := []string{"a missing", "away missing"}
		if oneByOne {
			want = []string{"a", "away missing"}
		}
		if got := words(told); !slices.Equal(got, want) {
			t.Errorf("one by one %t: got %q, want %q", oneByOne, got, want)
		}
		for _, p := range told {
			if p.Missing != nil && !errors.Is(p.Missing, link.ErrOffline) {
				t.Errorf("got %v", p.Missing)
			}
		}
	}
}

// Runners that nobody expected answer, too; a second answer is none.
func TestUnexpectedAndTwice(t *testing.T) {
	t.Parallel()
	var told []Part
	f := newFan(t, &told)
	gate := make(chan struct{})
	runner(t, f, "stranger", func(m *nats.Msg) []byte { defer close(gate); return fine(m) })
	runner(t, f, "a", func(m *nats.Msg) []byte {
		<-gate
		for range 3 {
			_ = m.RespondMsg(&nats.Msg{Data: []byte("{}"), Header: nats.Header{subjects.HeaderRunner: []string{"stranger"}}})
		}
		return fine(m)
	})
	if err := f.Run(t.Context(), []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if got := words(told); !slices.Equal(got, []string{"a", "stranger unexpected"}) {
		t.Errorf("got %q", got)
	}
}

// With a selector, each is told who it is about, and may say that it is left out.
func TestSelectors(t *testing.T) {
	t.Parallel()
	var told []Part
	f := newFan(t, &told)
	f.Where = "cpus > 8"
	var mu sync.Mutex
	var header nats.Header
	runner(t, f, "a", func(m *nats.Msg) []byte {
		mu.Lock()
		defer mu.Unlock()
		header = m.Header
		return []byte(`{"skipped":true}`)
	})
	runner(t, f, "b", fine)
	if err := f.Run(t.Context(), []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if got := words(told); !slices.Equal(got, []string{"a skipped", "b"}) {
		t.Errorf("got %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if header.Get(subjects.HeaderWhere) != "cpus > 8" || header.Get(subjects.HeaderAnswer) != subjects.AnswerAlways {
		t.Errorf("got headers %v", header)
	}
}

// A batch is asked when the one before it has settled; Enough leaves the rest alone.
func TestBatches(t *testing.T) {
	t.Parallel()
	for _, enough := range []bool{false, true} {
		var told []Part
		f := newFan(t, &told)
		f.OneByOne, f.Batch, f.Group = true, 2, "g1"
		var mu sync.Mutex
		var asked []string
		names := []string{"a", "b", "c", "d", "e"}
		for _, name := range names {
			runner(t, f, name, func(m *nats.Msg) []byte {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, m.Header.Get(subjects.HeaderGroup)+name)
				return fine(m)
			})
		}
		var settled []int
		f.Settled = func() { settled = append(settled, len(told)) }
		f.Enough = func() bool { return enough && len(told) >= 4 }
		if err := f.Run(t.Context(), names); err != nil {
			t.Fatal(err)
		}
		want := []int{2, 4, 5}
		if enough {
			want = []int{2, 4}
		}
		if !slices.Equal(settled, want) || len(told) != want[len(want)-1] {
			t.Errorf("enough %t: settled after %v, %d answered, want %v", enough, settled, len(told), want)
		}
		mu.Lock()
		if !strings.HasPrefix(asked[0], "g1") || len(asked) != len(told) {
			t.Errorf("asked were %q", asked)
		}
		mu.Unlock()
	}
}

// Expect waits for runners whose cards may not be there yet.
func TestExpect(t *testing.T) {
	t.Parallel()
	var told []Part
	f := newFan(t, &told)
	f.Expect, f.Timeout = 1, 50*time.Millisecond
	runner(t, f, "mute", mute)
	if err := f.Run(t.Context(), nil); err != nil || f.Short() != 1 || len(told) > 0 {
		t.Errorf("got %v, %d short, want 1", err, f.Short())
	}
	f.Expect, f.Timeout = 2, 0 // and then a minute
	runner(t, f, "a", fine)
	runner(t, f, "b", fine)
	if err := f.Run(t.Context(), []string{"a"}); err != nil || f.Short() != 0 || !slices.Equal(words(told), []string{"a", "b unexpected"}) {
		t.Errorf("got %v, %d short, %q", err, f.Short(), words(told))
	}
	f.Expect = 0
	if err := f.Run(t.Context(), nil); err != nil {
		t.Errorf("of nobody: got %v", err)
	}
}

// Whoever wants no more ends it; so does the caller's context.
func TestFanOutIsLeft(t *testing.T) {
	t.Parallel()
	var told []Part
	f := newFan(t, &told)
	runner(t, f, "a", fine)
	runner(t, f, "mute", mute)
	f.Each = func(Part) bool { return false }
	if err := f.Run(t.Context(), []string{"a", "mute"}); !errors.Is(err, ErrLeft) {
		t.Errorf("got %v, want %v", err, ErrLeft)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the user has left")
	f.Each = func(Part) bool { cancel(why); return true }
	if err := f.Run(ctx, []string{"a", "mute"}); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

func TestLimits(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	for text, want := range map[string]int{"": 5, "1": 1, "5": 5, "6": 5, "20%": 1, "50%": 2, "100%": 5, "1%": 1} {
		if got, err := Limit(names, text); err != nil || !slices.Equal(got, names[:want]) {
			t.Errorf("%q: got %v, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "x", "101%", "0%", "%", "1.5", "5 %", " 5"} {
		want := fmt.Sprintf("cannot use limit %q: it must be a number such as 10 or a share such as 25%%", text)
		if got, err := Limit(names, text); err == nil || err.Error() != want || len(got) > 0 {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if got, err := Limit(nil, "50%"); err != nil || len(got) > 0 {
		t.Errorf("of nobody: got %v, %v", got, err)
	}
}
