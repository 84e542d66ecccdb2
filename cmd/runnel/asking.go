package main

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/service/client"
)

// targetFlags say which runners are meant.
type targetFlags struct{ client.Target }

// add gives the flags to a command that asks runners.
func (t *targetFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&t.On, "on", "", "the runner called `NAME`")
	flags.StringVar(&t.Pool, "pool", "", "the runners of `POOL`: one of them, or all with --all")
	flags.BoolVar(&t.All, "all", false, "every runner instead of one")
	flags.StringVar(&t.Where, "where", "", "runners that match `EXPR`, such as 'labels.env == \"prod\" && cpus > 8'")
	groupFlags(flags, flagsWhere, "on", "pool", "all", "where")
}

// fanFlags say how a fan-out goes.
type fanFlags struct{ client.FanOptions }

// add gives the flags to a command that can ask many runners.
func (f *fanFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Limit, "limit", "", "with --all: at most `N` or N% of the runners")
	flags.IntVar(&f.Batch, "batch", 0, "with --all: `N` runners at a time")
	flags.IntVar(&f.Expect, "expect", 0, "with --all: an error unless `N` runners answer")
	groupFlags(flags, flagsWhere, "limit", "batch", "expect")
}

// withSession connects, does something and disconnects.
func (a *app) withSession(ctx context.Context, do func(*session) error) (err error) {
	s, err := a.open(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return do(s)
}

// sortedKeys of a map, for tables.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
