package client

import (
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/subjects"
)

// Target says which runner, or which runners, are meant. The zero value is any
// one runner of the fleet.
type Target struct {
	// On names one runner.
	On string
	// Pool narrows to a pool.
	Pool string
	// All means every runner instead of one. RunAll and FanOut set it.
	All bool
	// Where is a selector over the cards: labels.env == "prod" && cpus > 8.
	Where string
}

// Validate refuses targets that contradict themselves.
func (t Target) Validate() error {
	if t.On != "" && (t.All || t.Pool != "" || t.Where != "") {
		return errors.New("one runner was named: pool, all and where don't go with it")
	}
	for _, name := range []string{t.On, t.Pool} {
		if name == "" {
			continue
		}
		if err := subjects.Token(name); err != nil {
			return fmt.Errorf("cannot use name: %w", err)
		}
	}
	return nil
}

// single refuses what can't be the target of a call for one runner; many is the
// call that takes it.
func (t Target) single(many string) error {
	if t.All {
		return fmt.Errorf("%w: use %s", ErrOneOnly, many)
	}
	return t.Validate()
}

// scope is the target's, as far as a subject can say it.
func (t Target) scope() subjects.Scope {
	switch {
	case t.On != "":
		return subjects.At(t.On)
	case t.Pool != "" && t.All:
		return subjects.PoolAll(t.Pool)
	case t.Pool != "":
		return subjects.PoolAny(t.Pool)
	case t.All:
		return subjects.All
	}
	return subjects.Any
}

// wanted is the target, but for All.
func (t Target) wanted() link.Wanted { return link.Wanted{On: t.On, Pool: t.Pool, Where: t.Where} }
