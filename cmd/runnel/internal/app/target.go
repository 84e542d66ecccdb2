package app

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/client"
)

// TargetFlags say which runners are meant.
type TargetFlags struct{ client.Target }

// Add gives the flags to a command that asks runners.
func (t *TargetFlags) Add(a *App, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&t.On, "on", "", "the runner called `NAME`")
	flags.StringVar(&t.Pool, "pool", "", "the runners of `POOL`: one of them, or all with --all")
	flags.BoolVar(&t.All, "all", false, "every runner instead of one")
	flags.StringVar(&t.Where, "where", "", "runners that match `EXPR`, such as 'labels.env == \"prod\" && cpus > 8'")
	cli.Group(flags, cli.FlagsWhere, "on", "pool", "all", "where")
	a.CompleteFlag(cmd, "on", RunnerNames)
	a.CompleteFlag(cmd, "pool", PoolNames)
	a.CompleteFlag(cmd, "where", Selectors)
}

// FanFlags say how a fan-out goes.
type FanFlags struct{ client.FanOptions }

// Add gives the flags to a command that can ask many runners.
func (f *FanFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Limit, "limit", "", "with --all: at most `N` or N% of the runners")
	flags.IntVar(&f.Batch, "batch", 0, "with --all: `N` runners at a time")
	flags.IntVar(&f.Expect, "expect", 0, "with --all: an error unless `N` runners answer")
	cli.Group(flags, cli.FlagsWhere, "limit", "batch", "expect")
}

// Check refuses flags of a fan-out where there is none.
func (f *FanFlags) Check(where client.Target) error {
	if !where.All && (f.Limit != "" || f.Batch != 0 || f.Expect != 0) {
		return errors.New("--limit, --batch and --expect go with --all")
	}
	return nil
}

// ListPage is how many entries are asked for at a time: more than a message holds, so
// that each is full. For every page the runner reads the whole directory.
const ListPage = 20_000
