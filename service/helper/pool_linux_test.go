package helper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/helper"
	"github.com/runnel-io/runnel/service/mounts"
)

var data = mounts.Mount{Device: "0:40", Point: "/data", Type: "nfs4"}

func newPool(t *testing.T) *helper.Pool {
	t.Helper()
	p := helper.NewPool(&mounts.Budget{}, serve)
	t.Cleanup(p.Close)
	return p
}

func do(t *testing.T, p *helper.Pool, request string) string {
	t.Helper()
	reply, err := p.Do(t.Context(), data, []byte(request))
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return string(reply)
}

func TestServed(t *testing.T) {
	p := newPool(t)
	for i := range 5 {
		if got, want := do(t, p, fmt.Sprint(i)), fmt.Sprint("served ", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := do(t, p, "long xyz"); len(got) != 3<<20 {
		t.Errorf("got %d bytes", len(got))
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			reply, err := p.Do(t.Context(), data, []byte(fmt.Sprint(i)))
			if err != nil || string(reply) != fmt.Sprint("served ", i) {
				t.Errorf("%q, %v", reply, err)
			}
		})
	}
	all.Wait()
}

// A helper gets no secret that the runner's environment may have.
func TestEnvironment(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "secret")
	t.Setenv("TZ", "Asia/Tokyo")
	if got := do(t, newPool(t), "environment"); got != "TZ=Asia/Tokyo" {
		t.Errorf("got %q", got)
	}
}

func TestGivenUpInTime(t *testing.T) {
	p := newPool(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := p.Do(ctx, data, []byte("hang"))
	silent, ok := errors.AsType[*helper.SilentError](err)
	if !ok || silent.Code() != 503 || !strings.Contains(err.Error(), "/data (nfs4)") || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
	if got := do(t, p, "x"); got != "served x" {
		t.Errorf("the next one: got %q", got)
	}
}

// The caller's own limit is not the only one.
func TestPatience(t *testing.T) {
	if _, err := newPool(t).Do(t.Context(), data, []byte("hang")); !errors.As(err, new(*helper.SilentError)) {
		t.Errorf("got %v", err)
	}
}

func TestHelperThatEnds(t *testing.T) {
	p := newPool(t)
	if _, err := p.Do(t.Context(), data, []byte("exit")); err == nil || errors.As(err, new(*helper.SilentError)) {
		t.Errorf("got %v, want an error that is not about silence", err)
	}
	if got := do(t, p, "x"); got != "served x" {
		t.Errorf("the next one: got %q", got)
	}
}

// An idle helper that somebody has killed is replaced.
func TestKilledWhileIdle(t *testing.T) {
	p := newPool(t)
	do(t, p, "x")
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		t.Skip("this kernel doesn't list children")
	}
	for field := range strings.FieldsSeq(string(children)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err != nil {
			t.Fatal(err)
		}
		child, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		_ = child.Kill()
	}
	for range 20 { // the end of a process is seen a little later
		if reply, err := p.Do(t.Context(), data, []byte("x")); err == nil && string(reply) == "served x" {
			return
		}
	}
	t.Error("no helper after the first was killed")
}

// Without a helper to start, as many calls hang here as the budget allows.
func TestWithoutMain(t *testing.T) {
	t.Cleanup(helper.WithoutMain())
	hang, hanging := make(chan struct{}), make(chan struct{}, 100)
	p := helper.NewPool(&mounts.Budget{}, func(request []byte) []byte {
		if string(request) == "hang" {
			hanging <- struct{}{}
			<-hang
		}
		return request
	})
	if got := do(t, p, "x"); got != "x" {
		t.Errorf("got %q", got)
	}
	for range mounts.DefaultHelpers {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-hanging; cancel() }()
		if _, err := p.Do(ctx, data, []byte("hang")); !errors.As(err, new(*helper.SilentError)) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := p.Do(t.Context(), data, []byte("hang")); !errors.As(err, new(*mounts.HangingError)) {
		t.Errorf("one more: got %v", err)
	}
	close(hang)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // until they have left
		reply, err := p.Do(t.Context(), data, []byte("y"))
		if err == nil && string(reply) == "y" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after they ended: got %q, %v", reply, err)
		}
	}
}
