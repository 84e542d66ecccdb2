package schedules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/schedule"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var room = apptest.One(NewCommand)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// spec is a schedule of shell text.
func spec(name string, s schedule.Spec) client.Schedule {
	s.Since = noon
	return client.Schedule{Name: name, Spec: s, Task: &pb.TaskRequest{
		ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{"date"}}},
	}}
}

func TestWhenInWords(t *testing.T) {
	berlin := noon.In(time.FixedZone("CET", 3600))
	for want, s := range map[string]schedule.Spec{
		"0 3 * * *":               {Cron: "0 3 * * *"},
		"0 3 * * * Europe/Berlin": {Cron: "0 3 * * *", Zone: "Europe/Berlin"},
		"every 5m":                {Every: "5m"},
		"at 2026-03-01T12:00:00Z": {At: &berlin},
		"-":                       {},
	} {
		if got := when(client.Schedule{Spec: s}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhereInWords(t *testing.T) {
	for want, s := range map[string]schedule.Spec{
		"pool default":         {},
		"pool web":             {Pool: "web"},
		"all":                  {All: true},
		"all of pool web":      {All: true, Pool: "web"},
		"all where cpus > 8":   {All: true, Where: "cpus > 8"},
		"on web1, web2":        {All: true, On: []string{"web1", "web2"}},
		"pipeline release":     {Pipeline: "release"},
		"all where cpus > 8.0": {All: true, Where: "cpus > 8.0", Pool: "web"},
	} {
		if got := target(client.Schedule{Spec: s}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNextTick(t *testing.T) {
	until, past := noon.Add(90*time.Minute), noon.Add(-time.Hour)
	for name, c := range map[string]struct {
		s    schedule.Spec
		want string
	}{
		"an interval":     {schedule.Spec{Every: "1h"}, "in 1h"},
		"a pattern":       {schedule.Spec{Cron: "30 12 * * *"}, "in 30m"},
		"once":            {schedule.Spec{At: &until}, "in 1h"},
		"once, and gone":  {schedule.Spec{At: &past}, "-"},
		"over":            {schedule.Spec{Every: "1h", Until: &past}, "-"},
		"paused":          {schedule.Spec{Every: "1h", Paused: &schedule.Pause{Since: noon}}, "-"},
		"not before":      {schedule.Spec{Every: "1h", From: &until}, "in 2h"},
		"of another kind": {schedule.Spec{}, "-"},
	} {
		if got := in(noon, next(spec("x", c.s), noon)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestOutcomesInAWord(t *testing.T) {
	ended := timestamppb.New(noon)
	for name, c := range map[string]struct {
		run  *pb.Run
		want term.Painted
	}{
		"well":        {&pb.Run{State: pb.State_COMPLETE, Ended: ended}, term.Painted{Colour: term.Green, Text: "ok"}},
		"with a code": {&pb.Run{State: pb.State_COMPLETE, ExitCode: 3, Ended: ended}, term.Painted{Colour: term.Red, Text: "exit 3"}},
		"by a signal": {&pb.Run{State: pb.State_COMPLETE, Signal: "SIGKILL", Reason: pb.ReasonOOM, Ended: ended}, term.Painted{Colour: term.Red, Text: "oom"}},
		"still on":    {&pb.Run{State: pb.State_RUNNING}, term.Painted{Colour: term.Faint, Text: "running"}},
		"not yet":     {&pb.Run{State: pb.State_PENDING}, term.Painted{Colour: term.Faint, Text: "running"}},
		"passed over": {&pb.Run{State: pb.State_ABORTED, Reason: pb.ReasonSkipped, Ended: ended}, term.Painted{Colour: term.Faint, Text: "skipped"}},
		"missed":      {&pb.Run{State: pb.State_FAILED, Missed: 4, Reason: pb.ReasonExpired, Ended: ended}, term.Painted{Colour: term.Yellow, Text: "missed 4"}},
		"out of time": {&pb.Run{State: pb.State_TIMEDOUT, Reason: pb.ReasonTimeout, Ended: ended}, term.Painted{Colour: term.Red, Text: "timeout"}},
		"lost":        {&pb.Run{State: pb.State_FAILED, Reason: pb.ReasonLost, Ended: ended}, term.Painted{Colour: term.Red, Text: "lost"}},
		"by the user": {&pb.Run{State: pb.State_ABORTED, Reason: pb.ReasonAborted, Ended: ended}, term.Painted{Colour: term.Red, Text: "aborted"}},
		"never begun": {&pb.Run{State: pb.State_FAILED, Reason: pb.ReasonRejected, Ended: ended}, term.Painted{Colour: term.Red, Text: "rejected"}},
	} {
		if got := outcome(c.run); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestScheduleAsJSON(t *testing.T) {
	var out bytes.Buffer
	s := spec("disk", schedule.Spec{Every: "1h", All: true, Where: "cpus > 8 && os == \"linux\""})
	if err := printSchedule(app.New(app.Stdio{Out: &out, Err: io.Discard}), s); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, `{"name":"disk","every":"1h","all":true,"where":"cpus > 8 && os == \"linux\"",`) {
		t.Errorf("got %s", text) // <, > and & as they are: people read it
	}
	var got struct {
		Next *time.Time
		Task json.RawMessage
	}
	task := new(pb.TaskRequest)
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Next == nil || !got.Next.After(time.Now()) {
		t.Errorf("got %v, %v, want a next tick", got.Next, err)
	}
	if err := pb.UnmarshalJSON(got.Task, task); err != nil || !slices.Equal(task.GetSpec().GetTask().GetCommands(), []string{"date"}) {
		t.Errorf("got %v, %v, want the task as on the wire", task, err)
	}
	out.Reset()
	s.Paused = &schedule.Pause{Since: noon, By: "ann"}
	if err := printSchedule(app.New(app.Stdio{Out: &out, Err: io.Discard}), s); err != nil || strings.Contains(out.String(), `"next"`) || !strings.Contains(out.String(), `"paused":{"since":"2026-03-01T12:00:00Z","by":"ann"}`) {
		t.Errorf("paused: got %s, %v", out.String(), err)
	}
}

func TestAdviceAboutSchedules(t *testing.T) {
	for sentinel, want := range map[error]string{
		client.ErrUnknownSchedule: " (runnel schedule ls)",
		client.ErrScheduleOwned:   " (runnel pipeline show, runnel pipeline run)",
		client.ErrScheduleChanged: " (runnel schedule show tells; add --replace to write over it)",
	} {
		err := fmt.Errorf("cannot x: %w", sentinel)
		if got := advise(err); got.Error() != err.Error()+want || !errors.Is(got, sentinel) {
			t.Errorf("got %v, want %v%s", got, err, want)
		}
	}
	other := errors.New("no server")
	if got := advise(other); got != other {
		t.Errorf("got %v, want %v", got, other)
	}
	if advise(nil) != nil {
		t.Error("no error became one")
	}
}

func TestWhereSchedulesAreFrom(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	abs, err := filepath.Abs("schedules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"schedules.yml": host + ":" + abs, "./schedules.yml": host + ":" + abs, "/etc/s.yml": host + ":/etc/s.yml", "-": host + ":-"} {
		if got := sourceOf(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// What apply would do, and how diff says it.
func TestChanges(t *testing.T) {
	old := spec("disk", schedule.Spec{Every: "5m", All: true, Source: "host:/s.yml", By: "ann"})
	same := old
	same.By, same.Rev, same.Since, same.Paused = "bob", 7, noon.Add(time.Hour), &schedule.Pause{Since: noon}
	later := spec("disk", schedule.Spec{Every: "10m", All: true, Overlap: schedule.Allow, Source: "host:/s.yml"})
	other := old
	other.Task = &pb.TaskRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{"date -u"}}}}
	narrower := spec("disk", schedule.Spec{Every: "5m", Pool: "web", Source: "host:/s.yml"})
	for name, c := range map[string]struct {
		change      change
		done, print string
		fields      []string
	}{
		"new":       {change{name: "disk", wanted: &old}, "added", "+ disk: every 5m, all\n", []string{"all", "every", "name", "source", "task"}},
		"gone":      {change{name: "disk", there: &old}, "removed", "- disk\n", []string{"all", "every", "name", "source", "task"}},
		"as it was": {change{name: "disk", there: &old, wanted: &same}, "unchanged", "~ disk\n", nil},
		"another time": {
			change{name: "disk", there: &old, wanted: &later}, "changed",
			"~ disk\n    every: \"5m\" → \"10m\"\n    overlap: - → \"allow\"\n", []string{"every", "overlap"},
		},
		"another task": {
			change{name: "disk", there: &old, wanted: &other}, "changed",
			"~ disk\n    task: {\"commands\":[\"date\"]} → {\"commands\":[\"date -u\"]}\n", []string{"task"},
		},
		"fewer": {
			change{name: "disk", there: &old, wanted: &narrower}, "changed",
			"~ disk\n    pool: - → \"web\"\n    all: true → -\n", []string{"pool", "all"},
		},
	} {
		if got := c.change.done(); got != c.done {
			t.Errorf("%s: got %s, want %s", name, got, c.done)
		}
		if got := c.change.same(); got != (c.done == "unchanged") {
			t.Errorf("%s: same is %t", name, got)
		}
		if got := c.change.differences(); !slices.Equal(got, c.fields) {
			t.Errorf("%s: got %q, want %q", name, got, c.fields)
		}
		var out bytes.Buffer
		if err := c.change.print(&out); err != nil || out.String() != c.print {
			t.Errorf("%s: got %q, %v, want %q", name, out.String(), err, c.print)
		}
	}
	if err := (change{name: "x", there: &old}).print(broken{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a write that fails: got %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestDashForNothing(t *testing.T) {
	for text, want := range map[string]string{"": "-", `""`: "-", `"x"`: `"x"`, "0": "0", "null": "null", "\"a\x1b[2J\"": "\"a\uFFFD[2J\""} {
		if got := dash(json.RawMessage(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
