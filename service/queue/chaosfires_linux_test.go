package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
)

// fires are schedules of one second each that go on while there is chaos. What is
// expected of them is computed here, of nothing but the time: each second, from the
// making of a schedule to its last fire, has exactly one run, or is counted in
// exactly one record, and the latter only if the stream took no messages then.
type fires struct {
	*chaos
	plans []*plan
	alive leaderLog
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// plan is one schedule.
type plan struct {
	client.Schedule
	runners []string // each of them runs it; "" is the fleet
	last    time.Time
}

// startFires makes n schedules, of all kinds.
func (c *chaos) startFires(n int) *fires {
	f := &fires{chaos: c}
	kinds := []schedule.Spec{
		{Cron: "* * * * * *", Overlap: schedule.Allow},
		{Every: "1s", Overlap: schedule.Allow},
		{Cron: "* * * * * *", Zone: "Europe/Berlin", Overlap: schedule.Allow},
		{Every: "1s", All: true, Overlap: schedule.Allow},
		{Cron: "*/1 * * * * *"}, // skips
	}
	for i := range n {
		p := &plan{runners: []string{""}}
		p.Name, p.Spec = fmt.Sprint("s", i), kinds[i%len(kinds)]
		if p.All {
			p.runners = nil
			for _, m := range c.runners {
				p.runners = append(p.runners, m.Name)
			}
		}
		p.Task = &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{"printf x >>" + f.starts(p)}}}}
		rig.EventuallyIn(c.t, 2*time.Minute, "the schedule is stored", func() (ok bool) {
			stored, err := c.w.c.PutSchedule(rig.Within(c.t, 10*time.Second), p.Schedule)
			if ok = err == nil || errors.Is(err, client.ErrScheduleChanged); ok { // stored, and not heard of
				p.Schedule = stored
			}
			return ok
		})
		f.plans = append(f.plans, p)
	}
	var ctx context.Context
	ctx, f.stop = context.WithCancel(c.t.Context())
	f.ended.Go(func() { f.alive.keep(ctx, c.w.js) })
	return f
}

func (f *fires) starts(p *plan) string { return filepath.Join(f.dir, "fire-"+p.Name) }

// finish lets each schedule have a quiet tick, pauses it, and waits until what it
// has fired was handled.
func (f *fires) finish() {
	quiet := time.Now()
	for _, p := range f.plans {
		for _, runner := range p.runners {
			rig.EventuallyIn(f.t, 2*time.Minute, p.Name+" goes on "+runner, func() bool { return f.handled(p, runner).After(quiet) })
		}
	}
	for _, p := range f.plans {
		rig.EventuallyIn(f.t, 2*time.Minute, p.Name+" is paused", func() bool {
			now, err := f.w.c.PauseSchedule(rig.Within(f.t, 10*time.Second), p.Name, "test")
			return err == nil && now.Paused != nil
		})
		rig.EventuallyIn(f.t, 2*time.Minute, "the last fire of "+p.Name, func() (ok bool) {
			p.last, ok = f.fired(p)
			return ok
		})
		for _, runner := range p.runners {
			rig.EventuallyIn(f.t, 2*time.Minute, fmt.Sprintf("%s has handled its last fire, of %s", p.Name, p.last), func() bool {
				return f.handled(p, runner).Equal(p.last)
			})
		}
	}
	f.stop()
	f.ended.Wait()
}

// fired is the tick of the last message that a schedule has fired: a second before
// its next.
func (f *fires) fired(p *plan) (time.Time, bool) {
	s, err := f.w.js.Stream(f.t.Context(), "RUNNER_SCHEDULE")
	if err != nil {
		return time.Time{}, false
	}
	scope, pool := "any", "default"
	if p.All {
		scope, pool = "all", "_all"
	}
	m, err := s.GetLastMsgForSubject(f.t.Context(), "runner.schedule.fired."+scope+"."+pool+"."+p.Name)
	if err != nil {
		return time.Time{}, false
	}
	next, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Schedule-Next"))
	return next.Add(-time.Second).UTC(), err == nil
}

// handled is the last tick that somebody says he has handled.
func (f *fires) handled(p *plan, runner string) (tick time.Time) {
	key := "last." + p.Name
	if runner != "" {
		key += "." + runner
	}
	s, err := f.w.js.Stream(f.t.Context(), "KV_runner_schedule")
	if err != nil {
		return tick
	}
	m, err := s.GetLastMsgForSubject(f.t.Context(), "$KV.runner_schedule."+key)
	if err != nil {
		return tick
	}
	var last struct{ Tick time.Time }
	_ = json.Unmarshal(m.Data, &last)
	return last.Tick
}

// check compares the records with what is to be expected.
func (f *fires) check() {
	for _, p := range f.plans {
		runs := f.records(p)
		begun, complete := 0, 0
		for _, r := range runs {
			if !store.Final(r.GetState()) {
				f.t.Errorf("%s has not ended: %s", r.GetId(), r.GetState())
			}
			if r.GetStarted() != nil {
				begun++
			}
			if r.GetState() == pb.State_COMPLETE {
				complete++
			}
			if r.GetReason() == pb.ReasonRejected {
				f.t.Errorf("%s is rejected: %s", r.GetId(), r.GetError())
			}
			f.note("tick " + r.GetState().String() + " " + r.GetReason())
		}
		starts, _ := os.ReadFile(f.starts(p))
		if len(starts) > begun || len(starts) < complete {
			f.t.Errorf("schedule %s has %d runs that began, %d of them complete, and was started %d times", p.Name, begun, complete, len(starts))
		}
		for _, runner := range p.runners {
			f.eachSecond(p, runner, runs)
		}
	}
}

func (f *fires) records(p *plan) (all []*pb.Run) {
	q := &pb.Query{All: true, Tags: map[string]string{"schedule": p.Name}, Limit: 500}
	for {
		var reply *pb.QueryReply
		rig.EventuallyIn(f.t, 2*time.Minute, "the records of "+p.Name, func() (ok bool) {
			var err error
			reply, err = f.w.c.QueryRecords(f.t.Context(), q)
			return err == nil
		})
		all = append(all, reply.GetRuns()...)
		if q.Next = reply.GetNext(); q.Next == "" {
			return all
		}
	}
}

// settling is how long after its making a schedule's first tick may come.
const settling = 3 * time.Second

// eachSecond is the oracle.
func (f *fires) eachSecond(p *plan, runner string, runs []*pb.Run) {
	known := map[time.Time]string{}
	note := func(tick time.Time, id string) {
		if other, twice := known[tick]; twice {
			f.t.Errorf("schedule %s: %s is in %s and in %s", p.Name, tick, other, id)
		}
		known[tick] = id
	}
	for _, r := range runs {
		text, of, _ := strings.Cut(strings.TrimPrefix(r.GetId(), p.Name+"-"), "-")
		if of != runner {
			continue
		}
		tick, err := time.Parse("20060102T150405Z", text)
		if err != nil {
			f.t.Errorf("%s is no id of a tick", r.GetId())
			continue
		}
		if r.GetReason() != pb.ReasonExpired {
			note(tick, r.GetId())
			continue
		}
		n := int64(0)
		for tick := r.GetFrom().AsTime(); !tick.After(r.GetTo().AsTime()); tick = tick.Add(time.Second) {
			note(tick, r.GetId())
			if f.whole && f.alive.took(tick) && tick.Sub(p.Since) > settling {
				f.t.Errorf("schedule %s: %s counts as missed in %s, although the stream had a leader", p.Name, tick, r.GetId())
			}
			n++
		}
		if n != r.GetMissed() {
			f.t.Errorf("schedule %s: %s counts %d, and they are %d", p.Name, r.GetId(), r.GetMissed(), n)
		}
	}
	first := p.Since.Truncate(time.Second)
	end := first.Add(settling)
	if runner != "" { // who is new has missed nothing
		end = p.last
	}
	for known[first] == "" && first.Before(end) {
		first = first.Add(time.Second)
	}
	for tick := first; !tick.After(p.last); tick = tick.Add(time.Second) {
		if known[tick] == "" {
			f.t.Errorf("schedule %s %s: nothing is known of %s", p.Name, runner, tick)
		}
		delete(known, tick)
	}
	for tick, id := range known {
		f.t.Errorf("schedule %s: %s of %s is no tick", p.Name, id, tick)
	}
}

// leaderLog knows when the stream of schedules took messages without a delay.
type leaderLog struct {
	spans []span
}

type span struct{ from, to time.Time }

const (
	// prompt is how long a message may take, and then two may be apart, for the
	// stream to count as there.
	prompt = 250 * time.Millisecond
	apart  = 2 * prompt
)

// keep stores a message that no runner reads, again and again.
func (l *leaderLog) keep(ctx context.Context, js jetstream.JetStream) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		sent := time.Now()
		within, cancel := context.WithTimeout(ctx, time.Second)
		_, err := js.PublishMsg(within, &nats.Msg{Subject: "runner.schedule.fired.any.nobody.leader"}, jetstream.WithRetryAttempts(0))
		cancel()
		if now := time.Now(); err == nil && now.Sub(sent) < prompt {
			if n := len(l.spans); n > 0 && now.Sub(l.spans[n-1].to) < apart {
				l.spans[n-1].to = now
			} else {
				l.spans = append(l.spans, span{sent, now})
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// took says that the stream took messages all the time around a tick: until a
// second later, when the next one is due, it can be fired.
func (l *leaderLog) took(tick time.Time) bool {
	for _, s := range l.spans {
		if s.from.Before(tick.Add(-prompt)) && s.to.After(tick.Add(time.Second+prompt)) {
			return true
		}
	}
	return false
}
