package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/jsm.go/natscontext"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/subjects"
)

// leaveContexts tells this user's other commands, and the nats command, of the
// server built in, and returns the name of the context for the latter. What
// can't be left is not needed here.
func (s *serveCommand) leaveContexts() (contextName string) {
	if s.server == nil {
		return ""
	}
	if err := s.local.leave(); err != nil {
		s.log.Warn("cannot leave credentials for this user's commands: they need --server and --nkey", "error", err, "nkey", s.local.SeedFile)
	}
	name, err := s.local.writeNATSContext()
	if err != nil {
		s.log.Warn("cannot write a context for the nats command", "error", err)
		return ""
	}
	return name
}

// readyMark is in the line that says that runners take runs: scripts wait for it.
const readyMark = " ready: "

// announce says what is there and prints the commands that use it.
func (s *serveCommand) announce(ctx context.Context, contextName string) {
	names := "runner " + s.runners[0].name
	if n := len(s.runners); n > 1 {
		names = fmt.Sprintf("%d runners, %s to %s,", n, s.runners[0].name, s.runners[n-1].name)
	}
	pools := s.cfg.Pools
	if len(pools) == 0 {
		pools = []string{"default"}
	}
	s.say("%s%s%s, pools %s%s", names, readyMark, plural(s.cfg.Slots, "slot"), strings.Join(pools, " "), s.isolation(ctx))
	if contextName == "" {
		return
	}
	space, err := subjects.New(s.prefix)
	if err != nil {
		return // prepare has refused it
	}
	use := "runnel"
	if natscontext.SelectedContext() != "" || os.Getenv("NATS_URL") != "" || os.Getenv("NATS_CONTEXT") != "" {
		use += " --context " + contextName // they come before a local server
	}
	request := `{"kind":"runner","spec":{"task":{"commands":["uptime"]}}}`
	fmt.Fprintf(s.err, "  in another terminal   %s run -- uptime\n", use)
	fmt.Fprintf(s.err, "  with the nats CLI     nats --context %s req --no-templates %s '%s'\n",
		contextName, space.Request(subjects.Task, subjects.Any), request)
}

// isolation is what the first runner's card says that this host can do.
func (s *serveCommand) isolation(ctx context.Context) string {
	c, err := client.New(s.runners[0].nc, client.Options{Prefix: s.prefix})
	if err != nil {
		return ""
	}
	fleet, err := c.Runners(ctx)
	if err != nil {
		return ""
	}
	for _, seen := range fleet {
		if seen.Card.GetName() == s.runners[0].name {
			return ", isolation " + strings.Join(seen.Card.GetIsolation(), " ")
		}
	}
	return ""
}

// tilde shortens a path in the user's home, for people.
func tilde(path string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "/" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, home); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		return "~" + rest
	}
	return path
}
