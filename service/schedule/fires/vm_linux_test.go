package fires_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the machine has none

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/tests/rig"
)

// The tests here set the clock: tests/vm/run gives them a machine of their own.

func newMachine(t *testing.T) *world {
	t.Helper()
	if text, err := os.ReadFile("/proc/cmdline"); err != nil || !slices.Contains(strings.Fields(string(text)), "runnel-vm") {
		t.Skip("runs only in the virtual machine of tests/vm/run")
	}
	for _, dir := range []string{"/var/tmp", "/var/lib", "/run", "/home"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return newWorld(t)
}

// beat has the server look at its clock each second, by a schedule whose fires
// nobody takes: else its timer lasts for as long as the next fire was away when it
// was set.
func (w *world) beat() { w.put(program("beat", schedule.Spec{Every: "1s", Pool: "nobody"})) }

// fired waits until a schedule has fired so often.
func (w *world) fired(what string, times int) {
	w.t.Helper()
	subject := "runner.schedule.fired." + what
	rig.EventuallyIn(w.t, patience, what+" has fired", func() bool {
		s, err := rig.JetStream(w.t, w.nc).Stream(w.t.Context(), "RUNNER_SCHEDULE")
		if err != nil {
			return false
		}
		info, err := s.Info(w.t.Context(), jetstream.WithSubjectFilter(subject))
		return err == nil && info.State.Subjects[subject] == uint64(times)
	})
}

// program is a schedule of what the machine has: there is no bash.
func program(name string, spec schedule.Spec, argv ...string) schedule.Schedule {
	if len(argv) == 0 {
		argv = []string{"/bin/true"}
	}
	return schedule.Schedule{Name: name, Spec: spec, Task: &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv}}}}
}

// setClock sets the machine's clock.
func setClock(t *testing.T, to time.Time) {
	t.Helper()
	value := unix.NsecToTimeval(to.UnixNano())
	if err := unix.Settimeofday(&value); err != nil {
		t.Fatal(err)
	}
}

// ends are what became of a schedule's ticks, the oldest first.
func ends(runs []*pb.Run) (all []string) {
	for _, r := range runs {
		text := r.GetId() + " " + r.GetState().String()
		if r.GetReason() != "" && r.GetReason() != pb.ReasonExit {
			text += " " + r.GetReason()
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// expect waits until a schedule's ticks have become this, and all of it.
func (w *world) expect(name string, want ...string) {
	w.t.Helper()
	var got []string
	w.until(name, strings.Join(want, ", "), func(runs []*pb.Run) bool {
		got = ends(runs)
		return len(got) >= len(want) && final(runs)
	})
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: %q, want %q", name, got, want)
	}
}

// A change of the clock: two patterns of its zone, one with a fixed hour and one
// without, and the instants at which something is due.
type change struct {
	what, zone, fixed string
	at                []string
	fixedEnds         []string
	anyEnds           []string
}

var changes = []change{
	{"Lord Howe, half an hour forward", "Australia/Lord_Howe", "15 2 * * *", []string{"2026-10-03T15:30:00Z"},
		[]string{"20261003T153000Z COMPLETE"}, nil},
	{"Berlin, back", "Europe/Berlin", "30 2 * * *", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		[]string{"20261025T003000Z COMPLETE", "20261025T013000Z FAILED skipped"},
		[]string{"20261025T003000Z COMPLETE", "20261025T013000Z COMPLETE"}},
	{"New York, back", "America/New_York", "30 1 * * *", []string{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"},
		[]string{"20261101T053000Z COMPLETE", "20261101T063000Z FAILED skipped"},
		[]string{"20261101T053000Z COMPLETE", "20261101T063000Z COMPLETE"}},
	{"New York, forward", "America/New_York", "30 2 * * *", []string{"2027-03-14T07:00:00Z", "2027-03-14T07:30:00Z"},
		[]string{"20270314T070000Z COMPLETE"}, []string{"20270314T073000Z COMPLETE"}},
	{"Berlin, forward", "Europe/Berlin", "30 2 * * *", []string{"2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"},
		[]string{"20270328T010000Z COMPLETE"}, []string{"20270328T013000Z COMPLETE"}},
	{"Lord Howe, half an hour back", "Australia/Lord_Howe", "45 1 * * *", []string{"2027-04-03T14:45:00Z", "2027-04-03T15:15:00Z"},
		[]string{"20270403T144500Z COMPLETE", "20270403T151500Z FAILED skipped"},
		[]string{"20270403T144500Z COMPLETE", "20270403T151500Z COMPLETE"}},
}

// Both days on which the clocks change, in three zones, by the server's own zone
// data: a fixed hour runs once, and a pattern for each hour goes on.
func TestVMDaylightSaving(t *testing.T) {
	w := newMachine(t)
	setClock(t, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	w.start(service.Config{Name: "a", LostAfter: time.Hour, OfflineAfter: time.Hour})
	w.beat()
	for _, c := range changes {
		t.Run(c.what, func(t *testing.T) {
			w.t = t
			var due []time.Time
			for _, text := range c.at {
				at, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatal(err)
				}
				due = append(due, at)
			}
			setClock(t, due[0].Add(-time.Minute))
			id := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(c.zone)) + due[0].Format("0102")
			minute, _, _ := strings.Cut(c.fixed, " ")
			w.put(program("f-"+id, schedule.Spec{Cron: c.fixed, Zone: c.zone, Overlap: schedule.Allow}))
			w.put(program("e-"+id, schedule.Spec{Cron: minute + " * * * *", Zone: c.zone, Overlap: schedule.Allow}))
			for _, at := range due {
				setClock(t, at.Add(-time.Second/2))
				w.expect("f-"+id, named("f-"+id, upTo(c.fixedEnds, at))...)
				w.expect("e-"+id, named("e-"+id, upTo(c.anyEnds, at))...)
			}
			for _, name := range []string{"f-" + id, "e-" + id} {
				if err := w.c.RemoveSchedule(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func named(name string, ends []string) (all []string) {
	for _, end := range ends {
		all = append(all, name+"-"+end)
	}
	return all
}

// upTo are those that are due by then.
func upTo(ends []string, at time.Time) (due []string) {
	for _, end := range ends {
		if end[:16] <= at.Format("20060102T150405Z") {
			due = append(due, end)
		}
	}
	return due
}

// For an hour no runner is there. What was queued and fired meanwhile is done at
// their return, or recorded with the reason.
func TestVMAnHourWithoutRunners(t *testing.T) {
	w := newMachine(t)
	noon := time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	setClock(t, noon.Add(-time.Minute))
	runner := w.start(service.Config{Name: "a", DataDir: t.TempDir()})
	w.beat()
	w.put(program("each", schedule.Spec{Cron: "*/20 * * * *", Overlap: schedule.Allow}))
	w.put(program("skips", schedule.Spec{Cron: "*/20 * * * *"}))
	w.put(program("strict", schedule.Spec{Cron: "*/20 * * * *", Overlap: schedule.Allow, StartDeadline: "30m"}))
	w.put(program("all", schedule.Spec{Cron: "*/20 * * * *", All: true, Overlap: schedule.Allow}))
	setClock(t, noon.Add(-time.Second/2))
	for name, id := range map[string]string{"each": "", "skips": "", "strict": "", "all": "-a"} {
		w.expect(name, name+"-20270601T120000Z"+id+" COMPLETE")
	}
	runner.Close()
	for id, change := range map[string]func(*pb.Task){
		"plain": func(*pb.Task) {}, "expires": func(k *pb.Task) { k.Expires = "30m" }, "patient": func(k *pb.Task) { k.Expires = "2h" },
		"delay": func(k *pb.Task) { k.Delay = "40m" }, "later": func(k *pb.Task) { k.Delay = "3h" },
	} {
		task := &pb.Task{Argv: []string{"/bin/true"}}
		change(task)
		if _, err := w.c.Enqueue(t.Context(), client.Work{Task: &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: task}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, minute := range []int{20, 40, 60} {
		setClock(t, noon.Add(time.Duration(minute)*time.Minute-time.Second/2))
		for _, subject := range []string{"any.default.each", "any.default.skips", "any.default.strict", "all._all.all"} {
			w.fired(subject, 1+minute/20)
		}
	}
	setClock(t, noon.Add(65*time.Minute))
	w.start(service.Config{Name: "a"})
	w.expect("each", "each-20270601T120000Z COMPLETE", "each-20270601T122000Z COMPLETE", "each-20270601T124000Z COMPLETE", "each-20270601T130000Z COMPLETE")
	w.expect("strict", "strict-20270601T120000Z COMPLETE", "strict-20270601T122000Z FAILED expired", "strict-20270601T124000Z COMPLETE", "strict-20270601T130000Z COMPLETE")
	w.expect("all", "all-20270601T120000Z-a COMPLETE", "all-20270601T124000Z-a FAILED expired", "all-20270601T130000Z-a COMPLETE")
	for _, r := range w.records("all") {
		if r.GetReason() == pb.ReasonExpired && r.GetMissed() != 2 {
			t.Errorf("two ticks are too old, and %d count: %v", r.GetMissed(), r)
		}
	}
	runs := w.until("skips", "its ticks", func(runs []*pb.Run) bool { return len(runs) == 4 && final(runs) })
	for _, r := range runs { // the later ones come while the one before may run or not
		if r.GetState() != pb.State_COMPLETE && r.GetReason() != pb.ReasonSkipped {
			t.Errorf("%v", r)
		}
	}
	for id, end := range map[string]string{"plain": "COMPLETE", "expires": "FAILED expired", "patient": "COMPLETE", "delay": "COMPLETE"} {
		run, err := w.c.Wait(t.Context(), id)
		if err != nil || !strings.HasSuffix(ends([]*pb.Run{run})[0], id+" "+end) {
			t.Errorf("%s: %v, %v, want %s", id, run, err, end)
		}
	}
	if run, err := w.c.Whole(t.Context(), "later"); err != nil || !client.IsWaiting(run) {
		t.Errorf("what is due in two hours: %v, %v", run, err)
	}
}
