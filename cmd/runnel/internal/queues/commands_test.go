package queues

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// does runs a command line that must succeed, and returns what it printed.
func does(t *testing.T, r apptest.Room, line string) string {
	t.Helper()
	got := r.Run(t, strings.Fields(line)...)
	if got.Code != 0 {
		t.Fatalf("%s: got %d, %q", line, got.Code, got.Err)
	}
	return got.Out
}

// task is a shell's text with a name, and with retries if they are given.
func task(id, text string, retries float64) *pb.TaskRequest {
	req := &pb.TaskRequest{
		ApiVersion: pb.APIVersion, Kind: pb.Kind, Metadata: &pb.Metadata{Id: id},
		Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{text}, Name: "job " + id}},
	}
	if retries > 0 {
		req.Spec.Task.Retries, _ = structpb.NewValue(map[string]any{"max": retries, "on": []any{"exit"}})
	}
	return req
}

// enqueue puts work in.
func enqueue(t *testing.T, c *client.Client, w client.Work) {
	t.Helper()
	if _, err := c.Enqueue(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

// ended waits for a run that there may not be yet.
func ended(t *testing.T, c *client.Client, id string) (run *pb.Run) {
	t.Helper()
	rig.Eventually(t, id+" has ended", func() (is bool) {
		var err error
		run, err = c.Status(t.Context(), id)
		return err == nil && store.Final(run.GetState())
	})
	return run
}

// Nobody has used the queue: lists are empty, and nothing is made by looking.
func TestQueueThatNobodyUses(t *testing.T) {
	t.Parallel()
	server := rig.Start(t, natsserver.Options{})
	r := room.At(server.ClientURL())
	if got := does(t, r, "queue ls"); got != "POOL  PRIORITY  WAITING  RUNNING  OLDEST\n" {
		t.Errorf("got %q", got)
	}
	for _, line := range []string{"queue ls --json", "queue ls --failed --json", "queue retry --failed"} {
		if got := does(t, r, line); got != "" {
			t.Errorf("%s: got %q", line, got)
		}
	}
	if got := does(t, r, "queue ls --failed"); got != "WORK  ATTEMPTS  STATE  REASON  ENDED  POOL  NAME  ERROR\n" {
		t.Errorf("got %q", got)
	}
	for _, line := range []string{"queue show n1", "queue rm n1", "queue retry n1"} {
		if got := r.Run(t, strings.Fields(line)...); got.Code != 125 || got.Out != "" || strings.Count(got.Err, "\n") != 1 {
			t.Errorf("%s: got %d, %q, %q", line, got.Code, got.Out, got.Err)
		}
	}
}

// Work of a pool that has no runner waits, by priority, until it is removed.
func TestWorkThatWaits(t *testing.T) {
	t.Parallel()
	server := rig.Start(t, natsserver.Options{})
	c := fleet.Client(t, rig.Dial(t, server.ClientURL()))
	for i, priority := range []string{"low", "high", "normal", "high"} {
		enqueue(t, c, client.Work{Pool: "batch", Priority: priority, Task: task(fmt.Sprint("w", i), "true", 0)})
	}
	r := room.At(server.ClientURL())

	got := does(t, r, "queue ls")
	if !regexp.MustCompile(`^POOL   PRIORITY  WAITING  RUNNING  +OLDEST\nbatch  high +2 +0 +\d\S*\nbatch  normal +1 +0 +\d\S*\nbatch  low +1 +0 +\d\S*\n$`).MatchString(got) {
		t.Errorf("the highest first: got\n%s", got)
	}
	got = does(t, r, "queue ls --json")
	if n := strings.Count(got, "\n"); n != 3 || !strings.HasPrefix(got, `{"pool":"batch","priority":"high","waiting":2,"running":0,"oldestSeconds":`) {
		t.Errorf("got %s", got)
	}
	shown := r.Run(t, "queue", "show", "w0")
	if !regexp.MustCompile(`^ATTEMPT  RUN  STATE    RUNNER  SINCE\n1        w0   PENDING  -       \d\S* ago  \S.*\n$`).MatchString(shown.Out) || shown.Err != "runnel: w0: pool batch, priority low, retries 0\n" {
		t.Errorf("got %q\n%s", shown.Err, shown.Out)
	}
	record := new(pb.Run)
	if err := pb.UnmarshalJSON([]byte(does(t, r, "queue show w0 --json")), record); err != nil || record.GetState() != pb.State_PENDING || record.GetQueued().GetWhy() == "" {
		t.Errorf("got %v, %v, want a record that says why it waits", record, err)
	}
	for line, want := range map[string][]string{
		"queue rm _": {"w0", "w1", "w2", "w3"}, "queue rm w1 _": {"w0", "w2", "w3"}, "queue show w3": {"w3"}, "queue show w3 _": nil, "queue retry _": nil,
	} {
		words := strings.Split(strings.ReplaceAll(line, "_", ""), " ")
		got := r.Complete(t, words...)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: offered %q, want %q", line, got, want)
		}
	}

	if got := does(t, r, "queue rm w1 w2"); got != "w1 ABORTED\nw2 ABORTED\n" {
		t.Errorf("got %q", got)
	}
	removed := new(pb.Run)
	if err := pb.UnmarshalJSON([]byte(does(t, r, "queue rm w0 --json")), removed); err != nil || removed.GetState() != pb.State_ABORTED || removed.GetId() != "w0" {
		t.Errorf("got %v, %v", removed, err)
	}
	r.Refuses(t, map[string]string{
		"queue rm w1":     "cannot remove w1: it is not waiting in the queue",
		"queue rm nosuch": "cannot remove nosuch: it is not waiting in the queue",
	})
	if got := does(t, r, "queue purge batch"); got != "1\n" {
		t.Errorf("purge: got %q", got)
	}
	if got := does(t, r, "queue purge batch"); got != "0\n" {
		t.Errorf("purge of nothing: got %q", got)
	}
}

// ages in a table, which go on between two commands.
var ages = regexp.MustCompile(`\S+ ago`)

// Attempts are numbered, and what has failed can be tried once more.
func TestWorkThatRuns(t *testing.T) {
	t.Parallel()
	server := rig.Start(t, natsserver.Options{})
	fleet.Runner(t, rig.Dial(t, server.ClientURL()), service.Config{Name: "web1", Pools: []string{"web"}, Settings: service.Settings{Slots: 4}})
	c := fleet.Client(t, rig.Dial(t, server.ClientURL()))
	r := room.At(server.ClientURL())
	enqueue(t, c, client.Work{Pool: "web", Task: task("good", "true", 0)})
	enqueue(t, c, client.Work{Pool: "web", Task: task("bad", "exit 7", 1)})
	for _, id := range []string{"good", "bad-a2"} {
		ended(t, c, id)
	}

	shown := r.Run(t, "queue", "show", "bad")
	if !regexp.MustCompile(`^ATTEMPT  RUN +STATE +RUNNER  SINCE\n1 +bad +COMPLETE  web1 +\d\S* ago  exit 7\n2 +bad-a2  COMPLETE  web1 +\d\S* ago  exit 7\n$`).MatchString(shown.Out) ||
		shown.Err != "runnel: bad: pool web, priority normal, retries 1\n" {
		t.Errorf("got %d, %q\n%s", shown.Code, shown.Err, shown.Out)
	}
	if again := r.Run(t, "queue", "show", "bad-a2"); ages.ReplaceAllString(again.Out, "") != ages.ReplaceAllString(shown.Out, "") {
		t.Errorf("an attempt's id is not its work's: got\n%s", again.Out)
	}
	if got := does(t, r, "queue show bad --json"); strings.Count(got, "\n") != 2 {
		t.Errorf("got %s", got)
	}
	rig.Eventually(t, "the work is listed as failed", func() bool { return strings.Contains(does(t, r, "queue ls --failed"), "bad ") })
	if got := does(t, r, "queue ls --failed"); !regexp.MustCompile(`(?m)^bad +2 +COMPLETE  exit +\d\S* ago  web +job bad +exit 7$`).MatchString(got) || strings.Contains(got, "good") {
		t.Errorf("got\n%s", got)
	}
	if got := r.Complete(t, "queue", "retry", ""); !slices.Equal(got, []string{"bad"}) {
		t.Errorf("offered %q, want what has failed", got)
	}
	if got := does(t, r, "queue retry bad"); got != "bad-a3\n" {
		t.Errorf("got %q, want the id of the next attempt", got)
	}
	if run := ended(t, c, "bad-a3"); run.GetExitCode() != 7 {
		t.Errorf("got %v", run)
	}
	if _, err := c.Run(t.Context(), client.Target{}, task("plain", "true", 0), client.RunEvents{}); err != nil {
		t.Fatal(err)
	}
	r.Refuses(t, map[string]string{
		"queue retry good": "cannot try good again: it has succeeded",
		"queue rm good":    "cannot remove good: it is not waiting in the queue",
		"queue show plain": "run plain did not come from the queue (runnel show plain)",
	})
}

// A pool that is paused starts nothing and says by whom; resumed, it goes on.
func TestPausedPool(t *testing.T) {
	t.Parallel()
	server := rig.Start(t, natsserver.Options{})
	fleet.Runner(t, rig.Dial(t, server.ClientURL()), service.Config{Name: "web1", Pools: []string{"web"}})
	c := fleet.Client(t, rig.Dial(t, server.ClientURL()))
	r := room.At(server.ClientURL())
	if got := r.Complete(t, "queue", "pause", ""); !slices.Equal(got, []string{"web"}) {
		t.Errorf("offered %q, want the pools", got)
	}
	if got := does(t, r, "queue pause web"); got != "" {
		t.Errorf("got %q", got)
	}
	enqueue(t, c, client.Work{Pool: "web", Task: task("w1", "true", 0)})
	if got := does(t, r, "queue ls"); !regexp.MustCompile(`(?m)^web  +normal +1 +0 +\S+  paused by \S+$`).MatchString(got) {
		t.Errorf("got\n%s", got)
	}
	if got := does(t, r, "queue show w1"); !regexp.MustCompile(`(?m)^1 +w1 +PENDING +- .*pool web is paused by \S+$`).MatchString(got) {
		t.Errorf("got\n%s", got)
	}
	does(t, r, "queue resume web")
	if run := ended(t, c, "w1"); run.GetState() != pb.State_COMPLETE {
		t.Errorf("got %v", run)
	}
	does(t, r, "queue resume web") // twice is fine
}
