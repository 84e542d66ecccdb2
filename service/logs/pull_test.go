package logs

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
)

// The more readers there are, the less each is sent ahead; none is left with too
// little for a message.
func TestReadersShareWhatIsSentAhead(t *testing.T) {
	var a Ahead
	for _, c := range []struct {
		readers int64
		want    int
	}{{0, 4 << 20}, {1, 4 << 20}, {4, 4 << 20}, {16, 1 << 20}, {64, 256 << 10}, {128, 128 << 10}, {10_000, 128 << 10}} {
		a.readers.Store(c.readers)
		if got := a.most(); got != c.want {
			t.Errorf("%d readers: %d bytes each, want %d", c.readers, got, c.want)
		}
	}
	if got := (*Ahead)(nil).most(); got != aheadMost {
		t.Errorf("alone: %d", got)
	}
}

// longLines is output of so many lines of 60 KiB.
func longLines(n int) string {
	return strings.Repeat(strings.Repeat("x", 60<<10)+"\n", n)
}

// A message that is larger than a reader's share comes all the same, and small
// ones, of which there are more than may be on the way, all come.
func TestReaderGetsWhatItsShareDoesNotHold(t *testing.T) {
	h := newHost(t)
	cfg := h.config(h.js)
	w := Open(cfg)
	large := longLines(24)
	write(t, w, large)
	h.settled(w)
	h.close(w)
	m, err := (&stored{h.js, space.LogStream(), cfg.Subject}).at(h.ctx(), 1)
	if err != nil || len(m.body) <= aheadLeast {
		t.Fatalf("the first message has %d bytes: that shows nothing (%v)", len(m.body), err)
	}
	var ahead Ahead
	ahead.readers.Store(1000)
	options := h.options()
	options.Ahead = &ahead
	follow(t, h.ctx(), h.js, options).whole(t, large)
	if n := ahead.readers.Load(); n != 1000 {
		t.Errorf("%d readers are counted, want 1000: one that has left still is", n)
	}

	small := cfg
	small.Subject = space.Log("web1", "small")
	small.SpoolPath += "2"
	small.Lines.Pack = 1
	w = Open(small)
	text := numbered(0, 5*pullMessages)
	write(t, w, text)
	h.close(w)
	options.Subject = small.Subject
	follow(t, h.ctx(), h.js, options).whole(t, text)
	h.noConsumers()
}

// A reader who takes nothing is sent what he begins with, not all that there is.
func TestReaderWhoTakesNothing(t *testing.T) {
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, longLines(100))
	h.close(w)
	nc, js := h.connect(h.srv.URL())
	began, leave := make(chan struct{}), make(chan struct{})
	over := make(chan error, 1)
	go func() {
		first := true
		_, err := Follow(h.ctx(), js, h.options(), func(lines.Record) error {
			if first {
				first = false
				close(began)
				<-leave
			}
			return errLeaves
		})
		over <- err
	}()
	<-began
	in := nc.Stats().InBytes
	for range 3 { // what the server has sent by now is there before the answer
		if err := nc.FlushWithContext(h.ctx()); err != nil {
			t.Error(err)
		}
		in = nc.Stats().InBytes
	}
	close(leave)
	if err := <-over; !errors.Is(err, errLeaves) {
		t.Errorf("%v", err)
	}
	// The last message of the log was read for its number.
	if most := uint64(aheadFirst + 2*lines.DefaultMaxMessage); in > most {
		t.Errorf("%d bytes came, want %d at most", in, most)
	}
	rig.Eventually(t, "nothing is left", func() bool {
		s, err := h.js.Stream(h.ctx(), space.LogStream())
		return err == nil && s.CachedInfo().State.Consumers == 0
	})
}

var errLeaves = errors.New("enough")

// What the server says of a request, in its words.
func TestPullerHeedsTheServer(t *testing.T) {
	header := func(text, messages, bytes string) nats.Header {
		return nats.Header{"Description": {text}, "Nats-Pending-Messages": {messages}, "Nats-Pending-Bytes": {bytes}}
	}
	for _, c := range []struct {
		status, text, messages, bytes string
		wantMessages, wantBytes       int
		fails                         bool
	}{
		{"100", "Idle Heartbeat", "", "", 100, 1000, false},
		{"408", "Request Timeout", "40", "600", 60, 400, false},
		{"409", "Batch Completed", "0", "600", 100, 400, false},
		{"409", "Message Size Exceeds MaxBytes", "40", "5000", 60, 0, false},
		{"409", "Message Size Exceeds MaxBytes", "many", "-1", 100, 1000, false},
		{"409", "Consumer Deleted", "", "", 100, 1000, true},
		{"409", "Leadership Change", "", "", 100, 1000, true},
		{"503", "", "", "", 100, 1000, true},
	} {
		p := &puller{grown: aheadFirst}
		p.on.messages, p.on.bytes = 100, 1000
		err := p.heed(c.status, header(c.text, c.messages, c.bytes))
		if (err != nil) != c.fails || p.on.messages != c.wantMessages || p.on.bytes != c.wantBytes {
			t.Errorf("%s %s: %d messages, %d bytes, %v", c.status, c.text, p.on.messages, p.on.bytes, err)
		}
	}
}

// Who waits for a message hears at once that the connection was closed.
func TestPullerOfAClosedConnection(t *testing.T) {
	h := newHost(t)
	nc, js := h.connect(h.srv.URL())
	c, err := openConsumer(h.ctx(), &stored{js, space.LogStream(), space.Log("web1", "none")}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() {
		_, err := c.next(context.Background())
		over <- err
	}()
	nc.Close()
	if err := <-over; err == nil {
		t.Error("no error")
	}
	c.puller.close()
}

// A sparing reader that was away for longer than it waits, as one is whose client
// takes little, goes on where it was: it does not begin again.
func TestSparingReaderGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.Lines.Pack = 1
	w := Open(cfg)
	write(t, w, numbered(0, 5))
	h.close(w)
	c := &consumer{log: &stored{h.js, space.LogStream(), cfg.Subject}, single: 1}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for want := uint64(1); want <= 5; want++ {
		if _, err := c.next(over); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		m, err := c.next(h.ctx())
		if err != nil || m.runnerSeq != want {
			t.Fatalf("got message %d, want %d (%v)", m.runnerSeq, want, err)
		}
	}
}

func TestSparingReadersTakeTurns(t *testing.T) {
	t.Parallel()
	var a Ahead
	over, cancel := context.WithCancel(context.Background())
	var last func()
	for range singleReads {
		done, err := a.turn(over)
		if err != nil {
			t.Fatal(err)
		}
		last = done
	}
	cancel()
	if _, err := a.turn(over); !errors.Is(err, context.Canceled) {
		t.Errorf("one more: %v", err)
	}
	last()
	if _, err := a.turn(rig.Within(t, rig.Patience)); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if done, err := (*Ahead)(nil).turn(over); err != nil {
		t.Errorf("alone: %v", err)
	} else {
		done()
	}
}
