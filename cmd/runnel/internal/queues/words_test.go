package queues

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var room = apptest.One(NewCommand)

// Why work waits comes before how its last attempt went, and words before figures.
func TestHowWorkStands(t *testing.T) {
	for name, c := range map[string]struct {
		run  *pb.Run
		want string
	}{
		"nothing to say": {&pb.Run{State: pb.State_COMPLETE}, ""},
		"an exit code":   {&pb.Run{ExitCode: 3}, "exit 3"},
		"a signal":       {&pb.Run{ExitCode: 143, Signal: "SIGTERM"}, "SIGTERM"},
		"an error":       {&pb.Run{ExitCode: 1, Signal: "SIGKILL", Error: "out of memory"}, "out of memory"},
		"why it waits":   {&pb.Run{Error: "x", Queued: &pb.Queued{Why: "pool default is paused"}}, "pool default is paused"},
		"it just waits":  {&pb.Run{State: pb.State_PENDING, Queued: &pb.Queued{Pool: "default"}}, ""},
		"no record":      {nil, ""},
	} {
		if got := how(c.run); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestIdsWithTheirState(t *testing.T) {
	got := described([]*pb.Run{
		{Id: "n1-a2", Group: "n1", State: pb.State_COMPLETE, Name: "nightly", Queued: &pb.Queued{Pool: "batch"}},
		{Id: "w1", Group: "w1", State: pb.State_PENDING, Name: "two\nlines", Queued: &pb.Queued{Pool: "default"}},
	})
	want := []string{"n1\tCOMPLETE, pool batch nightly", "w1\tPENDING, pool default two lines"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := described(nil); got != nil {
		t.Errorf("of nothing: got %q", got)
	}
}

// A pause counts although somebody has not confirmed it; what that means is said.
func TestWhoHasNotConfirmed(t *testing.T) {
	missing := &client.UnconfirmedError{Pool: "web", Runners: []string{"web1", "web2"}}
	got := unconfirmed(fmt.Errorf("wrapped: %w", missing), "paused", "may still start work")
	want := "wrapped: pool web: no confirmation of web1, web2: the pool is paused, and whoever has not confirmed may still start work"
	if got == nil || got.Error() != want || !errors.As(got, &missing) {
		t.Errorf("got %v, want %s", got, want)
	}
	other := errors.New("no server")
	if got := unconfirmed(other, "paused", "x"); got != other {
		t.Errorf("got %v, want %v", got, other)
	}
	if got := unconfirmed(nil, "paused", "x"); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestQueueAsJSON(t *testing.T) {
	var out bytes.Buffer
	a := app.New(app.Stdio{Out: &out, Err: io.Discard})
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	err := printList(a, []client.QueueLine{
		{Pool: "default", Priority: "high", Waiting: 2, Running: 1, OldestSeconds: 1.5},
		{Pool: "web", Priority: "low", Paused: true, PausedBy: "ann", PausedSince: &since},
	}, []client.QueueConflict{{ID: "n1", Pool: "web", Priority: "low", At: since}})
	want := `{"pool":"default","priority":"high","waiting":2,"running":1,"oldestSeconds":1.5,"paused":false}
{"pool":"web","priority":"low","waiting":0,"running":0,"oldestSeconds":0,"paused":true,"pausedBy":"ann","pausedSince":"2026-01-02T03:04:05Z"}
{"conflict":{"id":"n1","pool":"web","priority":"low","at":"2026-01-02T03:04:05Z"}}
`
	if err != nil || out.String() != want {
		t.Errorf("got %v\n%swant\n%s", err, out.String(), want)
	}
	if err := printAny(a, func() {}); err == nil {
		t.Error("what can't be JSON is printed")
	}
}

// What can't be meant is refused before anybody is asked: no server is named here.
func TestQueueRefuses(t *testing.T) {
	t.Parallel()
	room.Refuses(t, map[string]string{
		"queue nosuch":            `there is no command "nosuch" (see runnel --help)`,
		"queue lss":               `there is no command "lss"; did you mean ls?`,
		"queue ls extra":          `cannot use the argument "extra": runnel queue ls [flags] (see runnel queue ls --help)`,
		"queue ls --failed=x":     `cannot use --failed "x": it is true or false (see runnel queue ls --help)`,
		"queue show":              "an argument is missing: runnel queue show ID [flags] (see runnel queue show --help)",
		"queue show a b":          `cannot use the argument "b": runnel queue show ID [flags] (see runnel queue show --help)`,
		"queue rm":                "an argument is missing: runnel queue rm ID… [flags] (see runnel queue rm --help)",
		"queue retry":             "which work? name it, or use --failed for all that has failed",
		"queue retry n1 --failed": "which work? name it, or use --failed for all that has failed",
		"queue pause":             "an argument is missing: runnel queue pause POOL [flags] (see runnel queue pause --help)",
		"queue pause a b":         `cannot use the argument "b": runnel queue pause POOL [flags] (see runnel queue pause --help)`,
		"queue resume":            "an argument is missing: runnel queue resume POOL [flags] (see runnel queue resume --help)",
		"queue purge":             "an argument is missing: runnel queue purge POOL [flags] (see runnel queue purge --help)",
		"queue ls --no-context":   "no NATS server: name one with --server or --context, or start one here with `runnel serve`",
	})
}

func TestHelpOfTheQueue(t *testing.T) {
	t.Parallel()
	for line, wants := range map[string][]string{
		"queue":           {"Look at the durable queue, pause it, and remove or retry work.\n", "runnel queue pause default", "  ls ", "  purge ", "  resume "},
		"queue ls -h":     {"runnel queue ls --failed", "--json", "newest first"},
		"queue show -h":   {"runnel queue show nightly-7", "--json"},
		"queue rm -h":     {"it never starts", "runnel queue rm nightly-7"},
		"queue retry -h":  {"runnel queue retry --failed", "ID… | --failed"},
		"queue pause -h":  {"runnel queue pause default", "; its runners confirm"},
		"queue resume -h": {"runnel queue resume default"},
		"queue purge -h":  {"runnel queue purge default"},
	} {
		got := room.Run(t, strings.Fields(line)...)
		if got.Code != 0 || got.Err != "" {
			t.Errorf("%s: got %d, %q", line, got.Code, got.Err)
		}
		for _, want := range wants {
			if !strings.Contains(got.Out, want) {
				t.Errorf("%s: got\n%s\nwant %q in it", line, got.Out, want)
			}
		}
		for text := range strings.Lines(got.Out) {
			if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > 80 {
				t.Errorf("%s: %d columns: %s", line, n, text)
			}
		}
	}
}
