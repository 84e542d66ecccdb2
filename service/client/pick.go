package client

import (
	"errors"
	"fmt"
	"slices"
)

// fullCode is what a runner without a free place answers.
const fullCode = 503

// freeFirst orders runners by how free they are: a card may be some seconds old,
// so the full ones come last instead of not at all.
func freeFirst(runners []Runner) []Runner {
	sorted := slices.Clone(runners)
	slices.SortStableFunc(sorted, func(a, b Runner) int { return int(free(b) - free(a)) })
	return sorted
}

func free(r Runner) int64 { return r.Card.GetSlots() - r.Card.GetRunning() - r.Card.GetPending() }

// passOver: this runner can't take it, another one may.
func passOver(err error) bool {
	return Code(err) == fullCode || errors.Is(err, ErrNoRunners) || errors.Is(err, ErrOffline)
}

func noMatch(t Target) error {
	return fmt.Errorf("%w %q", ErrNoMatch, t.Where)
}
