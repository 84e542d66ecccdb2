package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// What the server does not permit is said at once, with user and subject: nobody
// waits for an answer that can't come.
func TestPermissionDenied(t *testing.T) {
	users := map[string]*natsserver.Permissions{
		"admin":    nil,
		"asker":    {Publish: &natsserver.SubjectPermission{Deny: []string{"runner.task.>", "runner.query.any"}}},
		"pauper":   {Publish: &natsserver.SubjectPermission{Allow: []string{"runner.>"}}},
		"reader":   {Publish: &natsserver.SubjectPermission{Deny: []string{"$JS.API.CONSUMER.CREATE.RUNNER_LOG.>", "$JS.API.CONSUMER.CREATE.KV_runner_fleet.>", "$JS.API.STREAM.MSG.GET.RUNNER_LOG", "$JS.API.DIRECT.GET.RUNNER_LOG.>"}}},
		"listener": {Subscribe: &natsserver.SubjectPermission{Deny: []string{"_INBOX.>"}}},
	}
	options := natsserver.Options{}
	for name, permissions := range users {
		options.Users = append(options.Users, &natsserver.User{Username: name, Password: "x", Permissions: permissions})
	}
	server := rig.Start(t, options)
	as := func(user string) *nats.Conn { return rig.Dial(t, server.ClientURL(), nats.UserInfo(user, "x")) }
	fleet.Runner(t, as("admin"), service.Config{Name: "web1"})
	const patience = 30 * time.Second
	newClient := func(user string) *client.Client {
		c, err := client.New(as(user), client.Options{Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	asker, pauper, listener, reader := newClient("asker"), newClient("pauper"), newClient("listener"), newClient("reader")
	run, err := reader.Start(t.Context(), client.Target{}, shell("echo x; sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	for text, ask := range map[string]func() error{
		"user asker may not publish on runner.task.at.web1": func() error {
			_, err := asker.Start(t.Context(), client.Target{On: "web1"}, shell("true"))
			return err
		},
		"user asker may not publish on runner.task.any": func() error {
			_, err := asker.Run(t.Context(), client.Target{}, shell("true"), client.RunEvents{})
			return err
		},
		"user asker may not publish on runner.task.all": func() error {
			_, err := client.Collect(client.FanOut(t.Context(), asker, client.Request[*pb.TaskReply]{Verb: "task", Target: client.Target{All: true}, Body: shell("true")}, client.FanOptions{}))
			return err
		},
		"user asker may not publish on runner.query.any": func() error {
			_, err := asker.Wait(t.Context(), "nosuch")
			return err
		},
		"user pauper may not publish on $JS.API": func() error {
			_, err := pauper.Runners(t.Context())
			return err
		},
		"user reader may not publish on $JS.API.CONSUMER.CREATE.RUNNER_LOG.": func() error {
			_, err := reader.Follow(t.Context(), run, client.FollowOptions{Live: true}, nil)
			return err
		},
		"user reader may not publish on $JS.API.STREAM.MSG.GET.RUNNER_LOG": func() error {
			_, err := reader.LogTip(t.Context(), run)
			return err
		},
		"user reader may not publish on $JS.API.CONSUMER.CREATE.KV_runner_fleet.": func() error {
			return reader.WatchRunners(t.Context(), func(client.Runner) error { return nil })
		},
		"user listener may not subscribe to _INBOX.": func() error {
			_, err := listener.Glance(t.Context(), client.Target{On: "web1"}, &pb.Glance{})
			return err
		},
	} {
		began := time.Now()
		err := ask()
		var denied *client.PermissionError
		if !errors.As(err, &denied) || !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %s", err, text)
		}
		if took := time.Since(began); took > patience/3 {
			t.Errorf("%s: after %s", text, took)
		}
	}
	// Those who may not ask for the time ask all the same.
	if _, err := pauper.Glance(t.Context(), client.Target{}, &pb.Glance{}); err != nil {
		t.Error(err)
	}
	if _, err := asker.Glance(t.Context(), client.Target{}, &pb.Glance{}); err != nil {
		t.Error(err)
	}
}
