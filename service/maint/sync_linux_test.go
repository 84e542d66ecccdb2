package maint

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/pb"
)

// Force, because the machine that tests may have a time daemon; what is not
// forced is tested in daemon_linux_test.go.
func forced() *pb.ClockQuery {
	return &pb.ClockQuery{Time: time.Now().Unix(), Sync: true, Force: true}
}

func TestSyncSteps(t *testing.T) {
	for _, off := range []time.Duration{7210 * time.Millisecond, -7210 * time.Millisecond, 150 * time.Millisecond, -40 * 365 * 24 * time.Hour} {
		server := serveTime(t, off, nil)
		k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
		query := forced()
		query.Ntp = true
		reply, err := maint(k, query)
		if err != nil {
			t.Errorf("%v: %v", off, err)
			continue
		}
		c := reply.Clock
		if c.Sync.Status != StatusSynchronised || c.Sync.Action != "step" || c.Sync.Slewing {
			t.Errorf("%v: got %v; want a step and status 0", off, c.Sync)
		}
		if math.Abs(c.Offset) > 50 || math.Abs(float64(c.Diff.Time)-millis(off)) > 50 {
			t.Errorf("%v: got diff %v and offset %v; want what was found and what is left", off, c.Diff, c.Offset)
		}
		if len(m.steps) != 1 || len(m.slews) != 0 || (m.steps[0]-off).Abs() > 50*time.Millisecond {
			t.Errorf("%v: got steps %v, slews %v; want one step", off, m.steps, m.slews)
		}
		if c.Kernel.State != "synchronised" || c.Kernel.MaxError > 100 {
			t.Errorf("%v: got %v; want the kernel to know", off, c.Kernel)
		}
	}
}

func TestSyncSlews(t *testing.T) {
	for _, off := range []time.Duration{60 * time.Millisecond, -60 * time.Millisecond} {
		server := serveTime(t, off, nil)
		k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true, MaxStep: time.Millisecond})
		reply, err := maint(k, forced())
		if err != nil {
			t.Fatal(err)
		}
		s := reply.Clock.Sync
		if s.Status != StatusSynchronised || s.Action != "slew" || !s.Slewing || math.Abs(s.Remaining-millis(off)) > 30 {
			t.Errorf("got %v; want status 0, slewing, %v remaining", s, off)
		}
		if len(m.steps) != 0 || len(m.slews) != 1 {
			t.Errorf("got steps %v, slews %v; want one slew", m.steps, m.slews)
		}
	}
}

func TestRefusals(t *testing.T) {
	server := serveTime(t, 10*time.Second, nil)
	for name, test := range map[string]struct {
		cfg    Config
		deny   error
		want   error
		words  string
		status int64
	}{
		"not allowed":   {Config{}, nil, ErrRefused, "policy rule clock.forbidSet", StatusIndeterminate},
		"too far":       {Config{AllowSet: true, MaxStep: 5 * time.Second}, nil, ErrRefused, "policy rule clock.maxStep: steps are limited to 5s", StatusNotSynchronised},
		"no permission": {Config{AllowSet: true}, unix.EPERM, ErrNoPermission, "CAP_SYS_TIME", StatusNotSynchronised},
	} {
		test.cfg.Servers = []string{server.address}
		k, m := keeper(t, test.cfg)
		m.deny = test.deny
		reply, err := maint(k, forced())
		if !errors.Is(err, test.want) || !strings.Contains(reply.Error, test.words) || reply.Clock.Sync.Status != test.status {
			t.Errorf("%s: got %v, %v; want %q and status %d", name, reply, err, test.words, test.status)
		}
		if reply.Clock.Diff.Dangerous || reply.Clock.Sync.Action != "" {
			t.Errorf("%s: got %v; want the difference all the same, and nothing done", name, reply)
		}
		m.untouched(t)
	}
}

// A server that agrees to nothing twice can't confirm what was done by it.
func TestSyncIsVerified(t *testing.T) {
	second := func(lie func(packet) packet) func(int, packet) packet {
		return func(n int, p packet) packet {
			if n == 1 {
				return p
			}
			return lie(p)
		}
	}
	later := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		answer func(int, packet) packet
		status int64
		words  string
	}{
		"changes its mind": {second(func(p packet) packet { return p.received(later).sent(later) }), StatusNotSynchronised, "still sees it off by"},
		"leap 3":           {second(func(p packet) packet { return p.flags(3, 4, 4) }), StatusIndeterminate, "can't be verified"},
		"silent":           {second(func(packet) packet { return nil }), StatusIndeterminate, "can't be verified"},
		"replays the first": {func() func(int, packet) packet {
			var first packet
			return func(n int, p packet) packet {
				if n == 1 {
					first = append(packet(nil), p...)
				}
				return first
			}
		}(), StatusIndeterminate, "can't be verified"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serveTime(t, time.Second, test.answer)
			k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
			started := time.Now()
			reply, err := maint(k, forced())
			if err != nil || reply.Clock.Sync.Status != test.status || !strings.Contains(reply.Error, test.words) {
				t.Errorf("got %v, %v; want status %d and %q", reply, err, test.status, test.words)
			}
			if took := time.Since(started); took > callersWait() {
				t.Errorf("took %v, want at most 4 s", took)
			}
			if reply.Clock.Kernel.State != "unsynchronised" || len(m.steps) != 1 {
				t.Errorf("got kernel %v, steps %v; want it not vouched for", reply.Clock.Kernel, m.steps)
			}
		})
	}
}

// ntpd's default limit answers nobody twice within two seconds.
func TestVerifiedBySomebodyWhoLimitsQuestions(t *testing.T) {
	var last time.Time
	server := serveTime(t, time.Second, func(_ int, p packet) packet {
		defer func() { last = time.Now() }()
		if time.Since(last) < 1900*time.Millisecond {
			return p.kiss("RATE")
		}
		return p
	})
	k, _ := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
	reply, err := maint(k, forced())
	if err != nil || reply.Clock.Sync.Status != StatusSynchronised {
		t.Errorf("got %v, %v; want status 0", reply, err)
	}
}

func TestSyncsTakeTurns(t *testing.T) {
	server := serveTime(t, 30*time.Second, nil)
	k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			reply, err := maint(k, forced())
			if err != nil || reply.Clock.Sync.Status != StatusSynchronised {
				t.Errorf("got %v, %v; want status 0", reply, err)
			}
		})
	}
	wg.Wait()
	if len(m.steps) != 1 {
		t.Errorf("got steps %v, want the first to have made the only one", m.steps)
	}
}

// Who waits for a turn waits no longer than the request may take.
func TestWaitingForATurnEnds(t *testing.T) {
	t.Parallel()
	server := serveTime(t, 0, nil)
	k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
	k.turn <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // of which wholeTime counts
	defer cancel()
	reply, err := k.Maint(ctx, &pb.Maint{Clock: forced()})
	if !errors.Is(err, ErrBusy) || reply.Clock.Sync.Status != StatusIndeterminate || ctx.Err() != nil {
		t.Errorf("got %v, %v, %v; want busy and status 2 in time", reply, err, ctx.Err())
	}
	m.untouched(t)
}
