package tails

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	m.Run()
}

// hall is a fleet of one runner whose logs are followed.
type hall struct {
	t *testing.T
	c *client.Client
	*Tails
}

func newHall(t *testing.T) *hall {
	t.Helper()
	c := fleet.New(t, service.Config{Name: "r1"}).Client()
	h := &hall{t, c, New(c)}
	t.Cleanup(h.Close)
	return h
}

func (h *hall) start(script string) *pb.Run {
	h.t.Helper()
	task := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{
		Argv: []string{"bash", "-c", script}, Log: &pb.Log{Pack: 1}, // a message for each line
	}}}
	run, err := h.c.Start(rig.Within(h.t, time.Minute), client.Target{}, task)
	if err != nil {
		h.t.Fatal(err)
	}
	return run
}

func (h *hall) ended(run *pb.Run) *pb.Run {
	h.t.Helper()
	run, err := h.c.Wait(rig.Within(h.t, time.Minute), run.GetId())
	if err != nil {
		h.t.Fatal(err)
	}
	return run
}

// heard is what a follower got: the numbers of the lines, and whether the end came.
type heard struct {
	places []Place
	lines  []int64
	end    bool
}

func (h *heard) take(records []Record) error {
	for _, r := range records {
		if h.end {
			return errors.New("something comes behind the end")
		}
		if n := len(h.places); n > 0 && !h.places[n-1].Before(r.Place) {
			return fmt.Errorf("%v comes behind %v", r.Place, h.places[n-1])
		}
		h.places = append(h.places, r.Place)
		if h.end = r.End; !r.End {
			h.lines = append(h.lines, r.Pos)
		}
	}
	return nil
}

// isFrom says whether it is every line from one on, up to another, and the end.
func (h *heard) isFrom(first, last int64) bool {
	for i, n := range h.lines {
		if n != first+int64(i) {
			return false
		}
	}
	return h.end && int64(len(h.lines)) == max(last-first+1, 0)
}

func (h *hall) follow(run *pb.Run, opts Options) *heard {
	h.t.Helper()
	var got heard
	if err := h.Follow(rig.Within(h.t, time.Minute), run, opts, got.take); err != nil {
		h.t.Fatal(err)
	}
	return &got
}

// Everybody hears a log from where he begins to its end, while it is written as well
// as later.
func TestFollow(t *testing.T) {
	h := newHall(t)
	t.Run("what has ended", func(t *testing.T) {
		run := h.ended(h.start("seq 500"))
		all := h.follow(run, Options{})
		if !all.isFrom(1, 500) {
			t.Errorf("%d lines, end %v", len(all.lines), all.end)
		}
		for _, c := range []struct {
			opts  Options
			first int64
		}{
			{Options{FromPos: 1}, 1}, {Options{FromPos: 400}, 400}, {Options{FromPos: 500}, 500}, {Options{Tail: 10}, 491}, {Options{Tail: 10000}, 1},
			{Options{After: all.places[0]}, 2}, {Options{After: all.places[249]}, 251}, {Options{After: all.places[499]}, 501},
		} {
			if got := h.follow(run, c.opts); !got.isFrom(c.first, 500) {
				t.Errorf("%+v: %d lines, end %v", c.opts, len(got.lines), got.end)
			}
		}
	})
	t.Run("while it is written", func(t *testing.T) {
		run := h.start("for i in $(seq 300); do echo $i; sleep 0.002; done")
		var wg sync.WaitGroup
		for i, opts := range []Options{{}, {FromPos: 1}, {FromPos: 100}, {FromPos: 250}, {}} {
			wg.Go(func() {
				var got heard
				err := h.Follow(rig.Within(t, time.Minute), run, opts, func(records []Record) error {
					if i == 0 { // one that is slow
						time.Sleep(10 * time.Millisecond)
					}
					return got.take(records)
				})
				if err != nil || !got.isFrom(max(opts.FromPos, 1), 300) {
					t.Errorf("%+v: %d lines, end %v, %v", opts, len(got.lines), got.end, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("cut off and again", func(t *testing.T) {
		run := h.start("for i in $(seq 300); do echo $i; sleep 0.002; done")
		cut := errors.New("cut")
		var got heard
		var at Place
		for rounds := 0; !got.end; rounds++ {
			left := 1 + rounds%7
			err := h.Follow(rig.Within(t, time.Minute), run, Options{After: at}, func(records []Record) error {
				if len(records) > left { // the rest is lost with the connection
					records = records[:left]
				}
				left -= len(records)
				if err := got.take(records); err != nil || len(records) == 0 {
					return err
				}
				at = got.places[len(got.places)-1]
				if left == 0 && !got.end {
					return cut
				}
				return nil
			})
			if err != nil && !errors.Is(err, cut) {
				t.Fatal(err)
			}
		}
		if !got.isFrom(1, 300) {
			t.Errorf("%d lines", len(got.lines))
		}
	})
	t.Run("nothing is kept of a log that nobody follows", func(t *testing.T) {
		rig.Eventually(t, "all are let go of", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.logs) == 0
		})
	})
}

// One reader of a log serves all its followers, and goes with the last.
func TestFollowersShareAReader(t *testing.T) {
	h := newHall(t)
	run := h.start("echo here; sleep 1000")
	ctx, leave := context.WithCancel(rig.Within(t, time.Minute))
	var wg sync.WaitGroup
	here := make(chan bool, 10)
	for range 10 {
		wg.Go(func() {
			err := h.Follow(ctx, run, Options{}, func(records []Record) error {
				for range records {
					here <- true
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for range 10 {
		<-here
	}
	h.mu.Lock()
	if l := h.logs[run.GetId()]; len(h.logs) != 1 || l == nil || l.followers != 10 {
		t.Errorf("%d readers: %+v", len(h.logs), l)
	}
	h.mu.Unlock()
	leave()
	wg.Wait()
	h.mu.Lock()
	if len(h.logs) != 0 {
		t.Errorf("%d readers are left", len(h.logs))
	}
	h.mu.Unlock()
	if _, err := h.c.Abort(rig.Within(t, time.Minute), run.GetId(), time.Second); err != nil {
		t.Error(err)
	}
	h.ended(run)
}

// Who was behind a record that is no longer there hears so, and then all that is.
func TestFollowIsReset(t *testing.T) {
	f := fleet.New(t, service.Config{Name: "r1"})
	c := f.Client()
	h := &hall{t, c, New(c)}
	t.Cleanup(h.Close)
	run := h.ended(h.start("seq 3"))
	all := h.follow(run, Options{})
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	ctx := rig.Within(t, time.Minute)
	stream, err := js.Stream(ctx, run.GetLogStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(ctx, stream.CachedInfo().State.FirstSeq); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after  Place
		resets int
		first  int64
	}{{all.places[0], 1, 2}, {Place{Seq: 1, Record: 9}, 1, 2}, {all.places[2], 0, 4}} {
		resets := 0
		got := h.follow(run, Options{After: c.after, Reset: func() error { resets++; return nil }})
		if resets != c.resets || !got.isFrom(c.first, 3) {
			t.Errorf("behind %v: %d resets, %v", c.after, resets, got.lines)
		}
	}
}
