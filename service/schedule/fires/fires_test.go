package fires_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what takes a few seconds on a quiet machine.
const patience = 2 * time.Minute

type world struct {
	t   *testing.T
	url string
	nc  *nats.Conn
	c   *client.Client
	srv *rig.Server
}

func newWorld(t *testing.T, configs ...service.Config) *world {
	t.Helper()
	srv := rig.Start(t, natsserver.Options{})
	nc := rig.Dial(t, srv.ClientURL())
	w := &world{t: t, url: srv.ClientURL(), nc: nc, srv: srv}
	for _, cfg := range configs {
		w.start(cfg)
	}
	w.c = fleet.Client(t, rig.Dial(t, w.url))
	return w
}

func (w *world) start(cfg service.Config) *service.Service {
	w.t.Helper()
	cfg.NoCgroup = true
	return fleet.Runner(w.t, rig.Dial(w.t, w.url), cfg)
}

// shell is a schedule that runs a shell's text.
func shell(name, command string, spec schedule.Spec) schedule.Schedule {
	return schedule.Schedule{Name: name, Spec: spec, Task: &pb.TaskRequest{
		Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{command}}},
	}}
}

func (w *world) put(s schedule.Schedule) schedule.Schedule {
	w.t.Helper()
	stored, err := w.c.PutSchedule(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return stored
}

// records are those of a schedule's ticks, the oldest first.
func (w *world) records(name string) []*pb.Run {
	w.t.Helper()
	runs, err := w.c.ScheduleRuns(w.t.Context(), name, 200)
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(runs)
	return runs
}

// until waits for records that satisfy a condition.
func (w *world) until(name, what string, ok func([]*pb.Run) bool) []*pb.Run {
	w.t.Helper()
	var runs []*pb.Run
	rig.EventuallyIn(w.t, patience, name+": "+what, func() bool {
		found, err := w.c.ScheduleRuns(w.t.Context(), name, 200)
		if err != nil {
			return false // the server may be away
		}
		slices.Reverse(found)
		runs = found
		return ok(runs)
	})
	return runs
}

func final(runs []*pb.Run) bool {
	return !slices.ContainsFunc(runs, func(r *pb.Run) bool { return r.GetEnded() == nil })
}

// tickOf is the instant in a run's id.
func tickOf(t *testing.T, r *pb.Run, name string) time.Time {
	t.Helper()
	text, _, _ := strings.Cut(strings.TrimPrefix(r.GetId(), name+"-"), "-")
	tick, err := time.Parse("20060102T150405Z", text)
	if err != nil {
		t.Fatalf("id %s: %s", r.GetId(), err)
	}
	return tick
}

func TestEachTickHasOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"}, service.Config{Name: "b"})
	w.put(shell("every", "echo every", schedule.Spec{Every: "1s", Overlap: schedule.Allow}))
	w.put(shell("cron", "echo cron", schedule.Spec{Cron: "* * * * * *", Zone: "Europe/Berlin", Overlap: schedule.Allow}))
	for _, name := range []string{"every", "cron"} {
		runs := w.until(name, "four ended runs", func(runs []*pb.Run) bool { return len(runs) >= 4 && final(runs[:4]) })
		for i, r := range runs[:4] {
			if r.GetState() != pb.State_COMPLETE && r.GetMissed() == 0 {
				t.Errorf("%s: %v", name, r)
			}
			if r.GetTags()[schedule.TagSchedule] != name {
				t.Errorf("%s has the tags %v", r.GetId(), r.GetTags())
			}
			if i > 0 && !tickOf(t, r, name).After(tickOf(t, runs[i-1], name)) {
				t.Errorf("%s comes after %s", r.GetId(), runs[i-1].GetId())
			}
		}
	}
}

func TestAtRunsOnceAndIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"})
	at := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	w.put(shell("once", "echo once", schedule.Spec{At: &at}))
	runs := w.until("once", "run", func(runs []*pb.Run) bool { return len(runs) == 1 && final(runs) })
	if want := schedule.TickID("once", at); runs[0].GetId() != want || runs[0].GetState() != pb.State_COMPLETE {
		t.Errorf("%v, want run %s", runs[0], want)
	}
	rig.Eventually(t, "it is gone after its only tick", func() bool {
		_, err := w.c.GetSchedule(t.Context(), "once")
		return errors.Is(err, client.ErrUnknownSchedule)
	})
}

func TestAllRunsOnEachThatMatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		service.Config{Name: "web1", Settings: service.Settings{Labels: map[string]string{"role": "web"}}},
		service.Config{Name: "web2", Settings: service.Settings{Labels: map[string]string{"role": "web"}}},
		service.Config{Name: "db1", Settings: service.Settings{Labels: map[string]string{"role": "db"}}})
	w.put(shell("where", "true", schedule.Spec{Every: "1s", All: true, Where: `labels.role == "web"`, Overlap: schedule.Allow}))
	w.put(shell("on", "true", schedule.Spec{Every: "1s", All: true, On: []string{"db1"}, Overlap: schedule.Allow}))
	seen := map[string]int{}
	for name, want := range map[string][]string{"where": {"web1", "web2"}, "on": {"db1"}} {
		runs := w.until(name, "two ticks on each", func(runs []*pb.Run) bool {
			clear(seen)
			for _, r := range runs {
				if r.GetState() == pb.State_COMPLETE {
					seen[r.GetRunner()]++
				}
			}
			for _, runner := range want {
				if seen[runner] < 2 {
					return false
				}
			}
			return true
		})
		for _, r := range runs {
			if r.GetMissed() > 0 { // the machine is busy
				continue
			}
			if !slices.Contains(want, r.GetRunner()) || !strings.HasSuffix(r.GetId(), "Z-"+r.GetRunner()) {
				t.Errorf("%s: %s ran on %s", name, r.GetId(), r.GetRunner())
			}
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a", Settings: service.Settings{Slots: 8}})
	w.put(shell("skip", "sleep 300", schedule.Spec{Every: "1s"}))
	w.put(shell("replace", "sleep 300", schedule.Spec{Every: "2s", Overlap: schedule.Replace}))
	w.put(shell("replaceall", "sleep 300", schedule.Spec{Every: "2s", Overlap: schedule.Replace, All: true}))
	// A tick may also have been missed, where the machine is busy.
	of := func(runs []*pb.Run, is func(*pb.Run) bool) *pb.Run {
		if i := slices.IndexFunc(runs, is); i >= 0 {
			return runs[i]
		}
		return nil
	}
	live := func(r *pb.Run) bool { return r.GetStarted() != nil && r.GetEnded() == nil }
	skipped := func(r *pb.Run) bool { return r.GetReason() == pb.ReasonSkipped }
	runs := w.until("skip", "a run and a skipped tick", func(runs []*pb.Run) bool { return of(runs, live) != nil && of(runs, skipped) != nil })
	if r := of(runs, skipped); r.GetState() != pb.State_FAILED || !strings.Contains(r.GetError(), of(runs, live).GetId()) {
		t.Errorf("the skipped tick: %v", r)
	}
	for _, name := range []string{"replace", "replaceall"} {
		aborted := func(r *pb.Run) bool { return r.GetState() == pb.State_ABORTED && r.GetStarted() != nil }
		var first, second *pb.Run
		w.until(name, "a replaced run, and the next", func(runs []*pb.Run) bool {
			first = of(runs, aborted)
			second = of(runs, func(r *pb.Run) bool { return first != nil && r.GetId() > first.GetId() && r.GetStarted() != nil })
			return second != nil
		})
		if second.GetStarted().AsTime().Before(first.GetEnded().AsTime()) {
			t.Errorf("%s: %s began at %s, before the end of %s at %s", name, second.GetId(), second.GetStarted().AsTime(), first.GetId(), first.GetEnded().AsTime())
		}
	}
}

// A run that waits for its offset has its record before its tick counts as handled:
// if its runner died now, it would not be missing without a word.
func TestOffsetIsWaitedForWithARecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a", Settings: service.Settings{Slots: 1}})
	w.put(shell("later", "true", schedule.Spec{Every: "1s", All: true, Jitter: "24h", Overlap: schedule.Allow}))
	pending := func(r *pb.Run) bool { return r.GetState() == pb.State_PENDING && r.GetStarted() == nil }
	runs := w.until("later", "two that wait", func(runs []*pb.Run) bool {
		runs = slices.DeleteFunc(slices.Clone(runs), func(r *pb.Run) bool { return !pending(r) })
		return len(runs) >= 2
	})
	// Those that wait are in nobody's way.
	if run, err := w.c.Run(t.Context(), client.Target{}, shell("", "true", schedule.Spec{}).Task, client.RunEvents{}); err != nil || run.End() == nil || run.End().State != pb.State_COMPLETE.String() {
		t.Errorf("another run: %v, %v", run, err)
	}
	if err := w.c.RemoveSchedule(t.Context(), "later"); err != nil {
		t.Error(err)
	}
	id := runs[slices.IndexFunc(runs, pending)].GetId()
	if run, err := w.c.Abort(t.Context(), id, rig.Patience); err != nil || run.GetState() != pb.State_ABORTED || run.GetStarted() != nil {
		t.Errorf("aborted: %v, %v", run, err)
	}
}

// What was fired while the connection was away is read anew.
func TestFiredWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nc := rig.Dial(t, w.url, nats.ReconnectWait(10*time.Millisecond))
	fleet.Runner(t, nc, service.Config{Name: "a", NoCgroup: true})
	w.put(shell("often", "true", schedule.Spec{Every: "1s", All: true, Overlap: schedule.Allow}))
	w.until("often", "a run", func(runs []*pb.Run) bool { return len(runs) > 0 })
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	runs := w.until("often", "a run since", func(runs []*pb.Run) bool {
		return len(runs) > 0 && runs[len(runs)-1].GetCreated().AsTime().After(before) && final(runs)
	})
	w.eachSecond("often", runs)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"})
	w.put(shell("s", "true", schedule.Spec{Every: "1s", Overlap: schedule.Allow}))
	w.until("s", "a run", func(runs []*pb.Run) bool { return len(runs) > 0 })
	paused, err := w.c.PauseSchedule(t.Context(), "s", "ann")
	if err != nil || paused.Paused == nil || paused.Paused.By != "ann" {
		t.Fatalf("%+v, %v", paused, err)
	}
	since := time.Now() // the pause was stored by now, and a tick may have come in between
	// What fired before the pause is handled; then a tick passes and brings none.
	w.nextTick("other")
	before := len(w.records("s"))
	for _, r := range w.records("s") {
		if tick := tickOf(t, r, "s"); tick.After(since) {
			t.Errorf("%s is of a tick in the pause that began at %s", r.GetId(), paused.Paused.Since)
		}
	}
	resumed, err := w.c.ResumeSchedule(t.Context(), "s")
	if err != nil || resumed.Paused != nil {
		t.Fatalf("%+v, %v", resumed, err)
	}
	runs := w.until("s", "run after the pause", func(runs []*pb.Run) bool { return len(runs) > before })
	for _, r := range runs {
		if r.GetMissed() > 0 && r.GetTo().AsTime().After(paused.Paused.Since) && r.GetFrom().AsTime().Before(resumed.Since) {
			t.Errorf("ticks of a pause are counted as missed: %v", r)
		}
	}
}

// nextTick waits until another schedule has fired three times.
func (w *world) nextTick(name string) {
	w.t.Helper()
	w.put(shell(name, "true", schedule.Spec{Every: "1s", Overlap: schedule.Allow}))
	w.until(name, "three runs", func(runs []*pb.Run) bool { return len(runs) >= 3 })
}

func TestTicksWhileTheServerIsDownAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"})
	w.put(shell("s", "true", schedule.Spec{Cron: "* * * * * *", Overlap: schedule.Allow}))
	w.put(shell("all", "true", schedule.Spec{Cron: "* * * * * *", Overlap: schedule.Allow, All: true}))
	for _, name := range []string{"s", "all"} {
		w.until(name, "a run", func(runs []*pb.Run) bool { return len(runs) > 0 })
	}
	w.srv.Stop()
	down := time.NewTimer(4 * time.Second) // four ticks that nobody fires
	<-down.C
	w.srv.Again()
	for _, name := range []string{"s", "all"} {
		runs := w.until(name, "a record of missed ticks and a run after it", func(runs []*pb.Run) bool {
			i := slices.IndexFunc(runs, func(r *pb.Run) bool { return r.GetMissed() >= 2 })
			return i >= 0 && len(runs) > i+1 && final(runs)
		})
		w.eachSecond(name, runs)
	}
}

// eachSecond is the oracle: between the first and the last tick, each second has
// exactly one run, or is counted in exactly one record.
func (w *world) eachSecond(name string, runs []*pb.Run) {
	w.t.Helper()
	seen := map[time.Time]string{}
	note := func(tick time.Time, by string) {
		if other, there := seen[tick]; there {
			w.t.Errorf("%s: %s is in %s and in %s", name, tick, other, by)
		}
		seen[tick] = by
	}
	for _, r := range runs {
		if r.GetMissed() == 0 {
			note(tickOf(w.t, r, name), r.GetId())
			continue
		}
		n := int64(0)
		for tick := r.GetFrom().AsTime(); !tick.After(r.GetTo().AsTime()); tick = tick.Add(time.Second) {
			note(tick, r.GetId())
			n++
		}
		if n != r.GetMissed() || r.GetReason() != pb.ReasonExpired || r.GetState() != pb.State_FAILED {
			w.t.Errorf("%s counts %d ticks in %v", name, n, r)
		}
	}
	first, last := tickOf(w.t, runs[0], name), tickOf(w.t, runs[len(runs)-1], name)
	if m := runs[0]; m.GetMissed() > 0 {
		first = m.GetFrom().AsTime()
	}
	for tick := first; !tick.After(last); tick = tick.Add(time.Second) {
		if seen[tick] == "" {
			w.t.Errorf("%s: nothing is known of %s", name, tick)
		}
	}
}

func TestWithoutRunnersTicksWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(service.Config{Name: "first"}).Close() // it makes the fleet's records
	at := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	w.put(shell("late", "true", schedule.Spec{At: &at, StartDeadline: "1s"}))
	w.put(shell("waits", "true", schedule.Spec{At: &at}))
	passed := time.NewTimer(time.Until(at) + 3*time.Second) // it fires, and is too late then
	<-passed.C
	w.start(service.Config{Name: "a"})
	late := w.until("late", "record", func(runs []*pb.Run) bool { return len(runs) == 1 && final(runs) })
	if r := late[0]; r.GetReason() != pb.ReasonExpired || !strings.Contains(r.GetError(), "start deadline") || r.GetMissed() != 1 {
		t.Errorf("%v", r)
	}
	waits := w.until("waits", "run", func(runs []*pb.Run) bool { return len(runs) == 1 && final(runs) })
	if waits[0].GetState() != pb.State_COMPLETE {
		t.Errorf("%v", waits[0])
	}
}

func TestAnyClientCanSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"})
	w.put(shell("ours", "true", schedule.Spec{Cron: "0 3 * * *"})) // makes the stream
	m := nats.NewMsg("runner.schedule.def.theirs")
	m.Header.Set("Nats-Schedule", "@every 1s")
	m.Header.Set("Nats-Schedule-Target", "runner.schedule.fired.any.default.theirs")
	m.Data = []byte(`{"kind":"runner","spec":{"task":{"argv":["true"]}}}`)
	reply, err := w.nc.RequestMsg(m, rig.Patience)
	if err != nil || !strings.Contains(string(reply.Data), `"seq"`) {
		t.Fatalf("%s, %v", reply.Data, err)
	}
	runs := w.until("theirs", "run", func(runs []*pb.Run) bool { return len(runs) > 0 && runs[0].GetEnded() != nil })
	if runs[0].GetState() != pb.State_COMPLETE {
		t.Errorf("%v", runs[0])
	}
	all, err := w.c.Schedules(t.Context())
	if err != nil || len(all) != 2 || all[1].Name != "theirs" || all[1].Every != "1s" {
		body, _ := json.Marshal(all)
		t.Errorf("%s, %v", body, err)
	}
	if err := w.c.RemoveSchedule(t.Context(), "theirs"); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedBeforeAnythingIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"})
	past, soon := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for want, s := range map[string]schedule.Schedule{
		"give one of":       shell("s", "true", schedule.Spec{}),
		"one of cron":       shell("s", "true", schedule.Spec{Cron: "* * * * *", Every: "5m"}),
		"matches no date":   shell("s", "true", schedule.Spec{Cron: "0 0 30 2 *"}),
		"unknown time zone": shell("s", "true", schedule.Spec{Cron: "0 0 * * *", Zone: "Mars/Olympus"}),
		"less than a":       shell("s", "true", schedule.Spec{Every: "500ms"}),
		"in the past":       shell("s", "true", schedule.Spec{At: &past}),
		"before it begins":  shell("s", "true", schedule.Spec{Every: "5m", Until: &past, From: &soon}),
		"overlap":           shell("s", "true", schedule.Spec{Every: "5m", Overlap: "sometimes"}),
		"need all":          shell("s", "true", schedule.Spec{Every: "5m", On: []string{"a"}}),
		"where":             shell("s", "true", schedule.Spec{Every: "5m", All: true, Where: "labels.("}),
		"letters, digits":   shell("a b", "true", schedule.Spec{Every: "5m"}),
		"31":                shell(strings.Repeat("x", 40), "true", schedule.Spec{Every: "5m"}),
		"zone belongs":      shell("s", "true", schedule.Spec{Every: "5m", Zone: "Europe/Berlin"}),
		"jitter":            shell("s", "true", schedule.Spec{Every: "5m", Jitter: "5"}),
	} {
		_, err := w.c.PutSchedule(t.Context(), s)
		var invalid *pb.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an invalid one with %q", err, want)
		}
	}
	if all, err := w.c.Schedules(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestOneNameOneSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "a"})
	first := w.put(shell("s", "true", schedule.Spec{Every: "1h"}))
	if _, err := w.c.PutSchedule(t.Context(), shell("s", "false", schedule.Spec{Every: "1h"})); !errors.Is(err, client.ErrScheduleChanged) {
		t.Errorf("a second one of the same name: %v", err)
	}
	changed := first
	changed.Every = "2h"
	if changed = w.put(changed); changed.Rev <= first.Rev {
		t.Errorf("revision %d after %d", changed.Rev, first.Rev)
	}
	if _, err := w.c.PutSchedule(t.Context(), first); !errors.Is(err, client.ErrScheduleChanged) {
		t.Errorf("over an old revision: %v", err)
	}
	got, err := w.c.GetSchedule(t.Context(), "s")
	if err != nil || got.Every != "2h" || fmt.Sprint(got.Task.GetSpec().GetTask().GetCommands()) != "[true]" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := w.c.RemoveSchedule(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if err := w.c.RemoveSchedule(t.Context(), "s"); !errors.Is(err, client.ErrUnknownSchedule) {
		t.Errorf("removed twice: %v", err)
	}
	left, err := rig.JetStream(t, w.nc).Stream(context.Background(), "RUNNER_SCHEDULE")
	if err != nil || left.CachedInfo().State.Msgs != 0 {
		t.Errorf("messages are left: %+v, %v", left.CachedInfo().State, err)
	}
}
