package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/subjects"
)

// Config of a Server. Conn, Space and Runner are required.
type Config struct {
	// Conn takes requests and sends replies. Its callbacks become micro's.
	Conn  *nats.Conn
	Space subjects.Space
	// Runner, Instance and Pools are the runner's own. Version is Runnel's.
	Runner, Instance string
	Pools            []string
	Version          string
	// Rows of the table.
	Rows []Row
	// Free says whether the runner has a free place. Default: always.
	Free func() bool
	// ServerTime returns the earliest and latest that the NATS server's time can be
	// now. Default: it is not known, and no request is too late.
	ServerTime func(context.Context) (earliest, latest time.Time, err error)
	// Matches says whether a selector (Runner-Where) is true for this runner.
	// Default: each is.
	Matches func(where string) (bool, error)
	// Allow refuses a verb that the runner's policy has switched off. Default: none is.
	Allow func(subjects.Verb) error
	// ReplyPrefixes are those of callers' inboxes beside the usual ones. Default: none.
	ReplyPrefixes func() []string
	// Code gives the code of an error that has none of its own; 0: it is unknown.
	// Default: all are.
	Code func(error) int
	// Metrics is where the server's metrics are registered. Default: nowhere.
	Metrics *prometheus.Registry
	// Logger. Default: slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Free == nil {
		c.Free = func() bool { return true }
	}
	if c.ServerTime == nil {
		c.ServerTime = func(context.Context) (earliest, latest time.Time, err error) {
			return earliest, latest, errors.ErrUnsupported
		}
	}
	if c.Matches == nil {
		c.Matches = func(string) (bool, error) { return true, nil }
	}
	if c.Allow == nil {
		c.Allow = func(subjects.Verb) error { return nil }
	}
	if c.ReplyPrefixes == nil {
		c.ReplyPrefixes = func() []string { return nil }
	}
	if c.Code == nil {
		c.Code = func(error) int { return 0 }
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
