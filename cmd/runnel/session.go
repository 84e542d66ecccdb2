package main

import (
	"errors"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/service/client"
)

// session is a command's connection to a fleet.
type session struct {
	*client.Client
	target *target
	nc     *nats.Conn
}

// dial finds the server and connects to it. The caller closes the session.
func (a *app) dial() (*session, error) {
	t, err := a.find()
	if err != nil {
		return nil, err
	}
	return a.dialTarget(t)
}

// dialTarget connects to a server that was found.
func (a *app) dialTarget(t *target) (*session, error) {
	nc, err := t.connect()
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	s := &session{target: t, nc: nc}
	js, err := t.jetStream(nc)
	if err == nil {
		space, spaceErr := a.space(t)
		if err = spaceErr; err == nil {
			s.Client, err = client.New(nc, client.Options{Prefix: space.Prefix(), Timeout: t.timeout, JetStream: js})
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close disconnects.
func (s *session) Close() error {
	s.nc.Close()
	return s.target.Close()
}

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
type fanFlags struct {
	limit         string
	batch, expect int
}

// add gives the flags to a command that can ask many runners.
func (f *fanFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.limit, "limit", "", "with --all: at most `N` or N% of the runners")
	flags.IntVar(&f.batch, "batch", 0, "with --all: `N` runners at a time")
	flags.IntVar(&f.expect, "expect", 0, "with --all: an error unless `N` runners answer")
	groupFlags(flags, flagsWhere, "limit", "batch", "expect")
}

func (f *fanFlags) options() client.FanOptions {
	return client.FanOptions{Limit: f.limit, Batch: f.batch, Expect: f.expect}
}

// withSession connects, does something and disconnects.
func (a *app) withSession(do func(*session) error) (err error) {
	s, err := a.dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return do(s)
}

// exitInterrupted is what a shell makes of a program that ^C ended.
const exitInterrupted = 130

// sortedKeys of a map, for tables.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
