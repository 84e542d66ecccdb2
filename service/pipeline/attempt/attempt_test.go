package attempt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/records"
)

// attemptAt is one at a task of a pipeline with one task.
func attemptAt(t *testing.T, task string) *Attempt {
	t.Helper()
	all, err := definition.Parse("p.yml", []byte("pipelines: {p: {tasks: {a: {"+task+"}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	job := &Job{ID: "job", Pipeline: "p", Input: records.Input{Definition: all["p"]}}
	return New(&Fleet{StartTimeout: time.Minute}, job, &pb.JobTask{Name: "a", Number: 1, Attempt: 1}, all["p"].Tasks["a"])
}

// What another runner, or the same one later, may take is asked for again.
func TestWaitsForRunner(t *testing.T) {
	for _, c := range []struct {
		err   error
		waits bool
	}{
		{client.ErrNoRunners, true}, {client.ErrNoMatch, true}, {client.ErrOffline, true}, {client.ErrNoAnswer, true}, {client.ErrFull, true},
		{client.ErrBusy, true}, {client.ErrDraining, true}, {client.ErrTooLate, true},
		{fmt.Errorf("cannot ask: %w", client.ErrFull), true},
		{errors.New("the connection is closed"), true},
		{&client.RemoteError{Code: 500}, true},
		{&client.RemoteError{Code: 400}, false}, {&client.RemoteError{Code: 403}, false}, {&client.RemoteError{Code: 413}, false},
		{fmt.Errorf("%w: no script", client.ErrInvalid), false},
	} {
		if got := waitsForRunner(c.err); got != c.waits {
			t.Errorf("%v: %v, want %v", c.err, got, c.waits)
		}
	}
}

func TestNoRunner(t *testing.T) {
	a := attemptAt(t, "on: {pool: web, where: 'cpus > 1'}")
	for _, err := range []error{client.ErrNoRunners, client.ErrNoMatch, client.ErrOffline} {
		if got := a.noRunner(err).Error(); got != "no runner matches pool web, where cpus > 1" {
			t.Errorf("%v: %s", err, got)
		}
	}
	if got := a.noRunner(client.ErrFull); !errors.Is(got, client.ErrFull) || !strings.HasPrefix(got.Error(), "no runner has taken it in 1m0s: ") {
		t.Errorf("where all are full: %v", got)
	}
}

// A pause ends at its time, with an abort, or with the engine's term.
func TestPauseUntil(t *testing.T) {
	far := time.Now().Add(time.Hour)
	a := attemptAt(t, "")
	if !a.pauseUntil(t.Context(), time.Time{}) || !a.pauseUntil(t.Context(), time.Now().Add(time.Millisecond)) {
		t.Error("a time that has come")
	}
	over, end := context.WithCancel(t.Context())
	end()
	if a.pauseUntil(over, far) {
		t.Error("the term has ended")
	}
	ready := make(chan bool)
	go func() { ready <- a.pauseUntil(t.Context(), far) }()
	a.Abort()
	a.Abort() // once more does nothing
	if <-ready || !a.Aborted() || a.pauseUntil(t.Context(), time.Time{}) {
		t.Error("an aborted one goes on")
	}
}

func TestStopContext(t *testing.T) {
	stopped := make(chan struct{})
	ctx := stopContext(t.Context(), stopped)
	if ctx.Err() != nil {
		t.Fatal("it has ended already")
	}
	close(stopped)
	<-ctx.Done()
	outer, end := context.WithCancel(t.Context())
	ctx = stopContext(outer, make(chan struct{}))
	end()
	<-ctx.Done()
}

// Each is done, not too many at once, and every error is told.
func TestAtOnce(t *testing.T) {
	var now, most, done atomic.Int32
	all := make([]int, 500)
	for i := range all {
		all[i] = i
	}
	err := AtOnce(all, func(n int) error {
		for at := now.Add(1); ; {
			if was := most.Load(); at <= was || most.CompareAndSwap(was, at) {
				break
			}
		}
		defer now.Add(-1)
		done.Add(1)
		if n%100 == 0 {
			return fmt.Errorf("error %d", n)
		}
		return nil
	})
	if done.Load() != 500 || most.Load() > takeAtOnce {
		t.Errorf("%d done, %d at once", done.Load(), most.Load())
	}
	if got := strings.Split(fmt.Sprint(err), "\n"); !slices.Equal(got, []string{"error 0", "error 100", "error 200", "error 300", "error 400"}) {
		t.Errorf("errors %v", got)
	}
	if err := AtOnce(nil, func(int) error { return errors.New("never") }); err != nil {
		t.Error(err)
	}
}

func TestTailBytes(t *testing.T) {
	long := strings.Repeat("a", tailBytes) + "bc"
	if got := lastBytes([]byte(long)); len(got) != tailBytes || !strings.HasSuffix(string(got), "abc") {
		t.Errorf("%d bytes", len(got))
	}
	if got := clean([]byte("a\x00b\x00")); got != "ab" {
		t.Errorf("NUL: %q", got)
	}
}

// The exit code of a task on all is that of runnel run --all.
func TestFromAll(t *testing.T) {
	ok, bad := client.Outcome{}, client.Outcome{Err: errors.New("lost")}
	ok.Log.End = &lines.End{State: pb.State_COMPLETE.String()}
	for _, c := range []struct {
		found client.AllResult
		code  int
		text  string
	}{
		{client.AllResult{Outcomes: map[string]client.Outcome{"r1": ok, "r2": ok}}, 0, ""},
		{client.AllResult{Outcomes: map[string]client.Outcome{"r1": ok, "r3": bad, "r2": bad}}, 1, "failed on r2, r3"},
		{client.AllResult{Outcomes: map[string]client.Outcome{"r1": bad}, FanLists: client.FanLists{Missing: []string{"r8", "r9"}}}, 125, "missing: r8, r9"},
	} {
		var r result
		r.fromAll(&c.found)
		if r.ExitCode != c.code || r.Text != c.text {
			t.Errorf("%v: %d, %q; want %d, %q", c.found, r.ExitCode, r.Text, c.code, c.text)
		}
	}
}
