package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// One asks a single runner of a target. With Where it tries the online runners whose
// cards match, those with free places first; full and absent runners are skipped.
func (l *Link) One(ctx context.Context, t Wanted, q Question) error {
	switch {
	case t.On != "":
		return l.Call(ctx, t.scope(), q)
	case t.Where == "":
		return l.oneOfAny(ctx, t, q)
	}
	in, _, err := l.Match(ctx, t)
	if err != nil {
		return err
	}
	if len(in) == 0 {
		return noMatch(t)
	}
	for _, r := range FreeFirst(in) {
		err := l.Call(ctx, subjects.At(r.Card.GetName()), q)
		if err == nil || !passOver(err) {
			return err
		}
	}
	return ErrNoRunners
}

// FreeFirst orders runners by how free they are: a card may be some seconds old,
// so the full ones come last instead of not at all.
func FreeFirst(runners []store.Seen) []store.Seen {
	sorted := slices.Clone(runners)
	slices.SortStableFunc(sorted, func(a, b store.Seen) int { return int(free(b) - free(a)) })
	return sorted
}

func free(r store.Seen) int64 { return r.Card.GetSlots() - r.Card.GetRunning() - r.Card.GetPending() }

// Codes of answers.
const (
	invalidCode = 400
	refusedCode = 403
	busyCode    = 429
	fullCode    = 503
)

// passOver: this runner can't take it, another one may.
func passOver(err error) bool {
	return CodeOf(err) == fullCode || CodeOf(err) == busyCode || errors.Is(err, ErrNoRunners) || errors.Is(err, ErrOffline)
}

// unable is in the text of a 400 that is not the request's fault.
const unable = "this runner can't"

// isItsOwn: the refusal is of this runner's policy or host, and another may have
// another.
func isItsOwn(refusal *Refusal) bool {
	return refusal.Code == refusedCode || refusal.Code == invalidCode && strings.Contains(refusal.Text, unable)
}

// oneOfAny asks the runner that NATS picks. If that one is busy or refuses, others
// are asked by name, those with free places first.
func (l *Link) oneOfAny(ctx context.Context, t Wanted, q Question) error {
	err := l.Call(ctx, t.scope(), q)
	var refusal *Refusal
	if !errors.As(err, &refusal) || !passOver(err) && !isItsOwn(refusal) {
		return err
	}
	others, _, findErr := l.Match(ctx, t)
	if findErr != nil {
		return named(err)
	}
	asked := 1
	for _, r := range FreeFirst(others) {
		if r.Card.GetName() == refusal.Runner || asked == anyoneTries {
			continue
		}
		asked++
		proto.Reset(q.Reply)
		switch next := l.Call(ctx, subjects.At(r.Card.GetName()), q); {
		case next == nil, !passOver(next) && !(errors.As(next, &refusal) && isItsOwn(refusal)):
			return next
		}
	}
	return named(err)
}

// named says whose refusal it is where nobody was named.
func named(err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) && isItsOwn(refusal) {
		return fmt.Errorf("runner %s: %w", refusal.Runner, err)
	}
	return err
}

func noMatch(t Wanted) error {
	return fmt.Errorf("%w %q", ErrNoMatch, t.Where)
}

// anyoneTries is how many runners are asked in turn.
const anyoneTries = 3

// Anyone asks one runner and, when it does not answer or is busy, another: one
// that was stopped, or cut off just now, still gets its share of the requests. It
// is for idempotent requests.
func (l *Link) Anyone(ctx context.Context, q Question) (err error) {
	for range anyoneTries {
		err = l.Call(ctx, subjects.Any, q)
		if !errors.Is(err, ErrNoAnswer) && CodeOf(err) != busyCode || ctx.Err() != nil {
			break
		}
	}
	return err
}
