package runs

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// Stored is a task that a command keeps for later: what `run` has flags for, but
// for those that show output or belong to one run.
type Stored struct{ run *runCommand }

// NewStored gives a command the flags of a task and of where it runs.
func NewStored(a *app.App, cmd *cobra.Command) *Stored {
	r := &runCommand{App: a}
	r.addFlags(cmd)
	for _, name := range []string{"id", "queue", "follow", "priority", "not-before", "delay", "limit", "batch", "expect", "answers", "detach", "raw"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			f.Hidden = true
			cmd.Flags().SetAnnotation(name, notStored, []string{"true"}) //nolint:errcheck // the flag is there
		}
	}
	return &Stored{r}
}

const notStored = "not of a stored task"

// Request is the task, without an id.
func (s *Stored) Request(cmd *cobra.Command, args []string) (*pb.TaskRequest, error) {
	if err := refuseFlagsAfter(cmd, args); err != nil {
		return nil, err
	}
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Annotations[notStored] != nil {
			wrong = errors.New("--" + f.Name + " is no flag of a schedule")
		}
	})
	if wrong != nil {
		return nil, wrong
	}
	where := s.run.where.Target
	if err := where.Validate(); err != nil {
		return nil, err
	}
	s.run.queue.is = !s.run.where.All
	s.run.where.Target = client.Target{Pool: where.Pool}
	req, err := s.run.request(args)
	s.run.where.Target = where
	if err != nil {
		return nil, err
	}
	req.Metadata.Id = ""
	return req, nil
}

// Target is where the flags have it run.
func (s *Stored) Target() client.Target { return s.run.where.Target }

// AsJSON says that JSON is wanted.
func (s *Stored) AsJSON() bool { return s.run.asJSON }
