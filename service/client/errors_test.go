package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// What a runner answered is the same condition as what the library finds out by
// itself.
func TestSentinelsBehindARemoteError(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		is   error
	}{
		{400, "invalid type", client.ErrInvalid},
		{403, "policy: argv is not allowed", client.ErrRefused},
		{404, "unknown run id x", client.ErrUnknownRun},
		{404, "unknown runner x", client.ErrUnknownRunner},
		{408, "asked too late", client.ErrTooLate},
		{409, "another request has this run id already", client.ErrConflict},
		{409, "cannot remove run x: still live", client.ErrLive},
		{413, "the record would be larger than 24 KiB", client.ErrTooLarge},
		{429, "too many queries at once. Please try later", client.ErrBusy},
		{503, "No resources available. Please try later.", client.ErrFull},
		{503, "draining: this runner takes no new runs", client.ErrDraining},
		{500, "something else", nil},
		{503, "unhealthy: no space left on device", nil},
		{404, "no such file or directory", nil},
	} {
		var err error = &client.RemoteError{Runner: "web1", Code: c.code, Text: c.text}
		for _, sentinel := range []error{
			client.ErrInvalid, client.ErrRefused, client.ErrUnknownRun, client.ErrUnknownRunner, client.ErrTooLate, client.ErrConflict,
			client.ErrLive, client.ErrTooLarge, client.ErrBusy, client.ErrFull, client.ErrDraining, client.ErrNoRunners, client.ErrNoAnswer,
		} {
			if got := errors.Is(err, sentinel); got != (sentinel == c.is) {
				t.Errorf("%d %q is %v: got %v", c.code, c.text, sentinel, got)
			}
		}
	}
}

// The words that real runners answer with are those that the sentinels know.
func TestSentinelsOfARealRunner(t *testing.T) {
	server := fleet.New(t)
	server.Runner(service.Config{Name: "small", Settings: service.Settings{Slots: 1, Backlog: -1, Policy: &policy.Policy{Languages: []string{"bash"}}}})
	c := server.Client()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	on := client.Target{On: "small"}

	req := shell("sleep 1000")
	req.Metadata = &pb.Metadata{Id: "one"}
	if _, err := c.Start(ctx, on, req); err != nil {
		t.Fatal(err)
	}
	other := shell("true")
	other.Metadata = &pb.Metadata{Id: "one"}
	_, statusErr := c.Status(ctx, "nobody")
	_, abortErr := c.Abort(ctx, "nobody", time.Second)
	_, queryErr := c.Query(ctx, &pb.Query{Runs: []string{"nobody"}})
	_, fullErr := c.Start(ctx, on, shell("true"))
	_, conflictErr := c.Start(ctx, on, other)
	language := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{
		Language: &pb.Language{Name: "python"}, File: &pb.File{Content: []byte("print(1)")},
	}}}
	_, refusedErr := c.Start(ctx, on, language)
	for name, row := range map[string]struct{ err, is error }{
		"status":   {statusErr, client.ErrUnknownRun},
		"abort":    {abortErr, client.ErrUnknownRun},
		"query":    {queryErr, client.ErrUnknownRun},
		"full":     {fullErr, client.ErrFull},
		"conflict": {conflictErr, client.ErrConflict},
		"policy":   {refusedErr, client.ErrRefused},
		"remove":   {c.Remove(ctx, "one"), client.ErrLive},
		"forget":   {c.Forget(ctx, "nobody"), client.ErrUnknownRunner},
	} {
		if !errors.Is(row.err, row.is) {
			t.Errorf("%s: got %v, want one that is %q", name, row.err, row.is)
		}
	}
	if _, err := c.Abort(ctx, "one", 10*time.Second); err != nil {
		t.Error(err)
	}
}

// A target that means all runners never runs everywhere and follows one.
func TestOneOnly(t *testing.T) {
	server := fleet.New(t)
	server.Runner(service.Config{Name: "a"})
	server.Runner(service.Config{Name: "b"})
	c := server.Client()
	ctx := t.Context()
	all := client.Target{All: true}
	_, runErr := c.Run(ctx, all, shell("true"), client.RunEvents{})
	_, startErr := c.Start(ctx, client.Target{All: true, Pool: "default"}, shell("true"))
	_, glanceErr := c.Glance(ctx, all, &pb.Glance{})
	_, maintErr := c.Maint(ctx, all, &pb.Maint{})
	_, _, clockErr := c.Clock(ctx, all, &pb.ClockQuery{})
	for want, err := range map[string]error{
		"RunAll": runErr, "FanOut or RunAll": startErr, "GlanceAll": glanceErr, "MaintAll": maintErr, "ClockAll": clockErr,
	} {
		if !errors.Is(err, client.ErrOneOnly) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one that names %s", err, want)
		}
	}
	reply, err := c.Query(ctx, &pb.Query{All: true})
	if err != nil || len(reply.GetRuns()) != 0 {
		t.Errorf("runs were started: %v, %v", reply.GetRuns(), err)
	}
}

// The library has no words of the command line.
func TestErrorsNameNoCommand(t *testing.T) {
	server := fleet.New(t)
	fresh := server.Client()
	_, neverSeen := fresh.Status(t.Context(), "x")
	server.Runner(service.Config{Name: "a"})
	c := server.Client()
	_, offline := c.Start(t.Context(), client.Target{On: "web9"}, shell("true"))
	_, noMatch := c.Start(t.Context(), client.Target{Where: `name == "nobody"`}, shell("true"))
	for is, err := range map[error]error{client.ErrOffline: offline, client.ErrNoMatch: noMatch, nil: neverSeen} {
		if err == nil || is != nil && !errors.Is(err, is) {
			t.Errorf("got %v, want %v", err, is)
		} else if text := err.Error(); strings.Contains(text, "runnel ") || strings.Contains(text, "--") {
			t.Errorf("%q tells of a command line", text)
		}
	}
}
