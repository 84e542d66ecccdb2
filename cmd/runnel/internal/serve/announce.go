package serve

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/jsm.go/natscontext"

	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/subjects"
)

// leaveContexts tells this user's other commands, and the nats command, of the
// server built in, and returns the name of the context for the latter. What
// can't be left is not needed here.
func (s *command) leaveContexts() (contextName string) {
	if s.server == nil {
		return ""
	}
	if err := s.local.Leave(); err != nil {
		s.Log.Warn("cannot leave credentials for this user's commands: they need --server and --nkey", "error", err, "nkey", s.local.SeedFile)
	}
	name, err := s.local.WriteNATSContext()
	if err != nil {
		s.Log.Warn("cannot write a context for the nats command", "error", err)
		return ""
	}
	return name
}

// ReadyMark is in the line that says that runners take runs: scripts wait for it.
const ReadyMark = " ready: "

// announce says what is there and prints the commands that use it.
func (s *command) announce(ctx context.Context, contextName string) {
	names := "runner " + s.runners[0].Name
	if n := len(s.runners); n > 1 {
		names = fmt.Sprintf("%d runners, %s to %s,", n, s.runners[0].Name, s.runners[n-1].Name)
	}
	pools := s.cfg.Pools
	if len(pools) == 0 {
		pools = []string{"default"}
	}
	s.Say("%s%s%s, pools %s%s", names, ReadyMark, term.Plural(s.cfg.Slots, "slot"), strings.Join(pools, " "), s.isolation(ctx))
	if contextName == "" {
		return
	}
	space, err := subjects.New(s.Prefix)
	if err != nil {
		return // prepare has refused it
	}
	use := "runnel"
	if natscontext.SelectedContext() != "" || os.Getenv("NATS_URL") != "" || os.Getenv("NATS_CONTEXT") != "" {
		use += " --context " + contextName // they come before a local server
	}
	request := `{"kind":"runner","spec":{"task":{"commands":["uptime"]}}}`
	fmt.Fprintf(s.Err, "  in another terminal   %s run -- uptime\n", use)
	fmt.Fprintf(s.Err, "  with the nats CLI     nats --context %s req --no-templates %s '%s'\n",
		contextName, space.Request(subjects.Task, subjects.Any), request)
}

// isolation is what the first runner's card says that this host can do.
func (s *command) isolation(ctx context.Context) string {
	c, err := client.New(s.runners[0].Nc, client.Options{Prefix: s.Prefix})
	if err != nil {
		return ""
	}
	fleet, err := c.Runners(ctx)
	if err != nil {
		return ""
	}
	for _, seen := range fleet {
		if seen.Card.GetName() == s.runners[0].Name {
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
