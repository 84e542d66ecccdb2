package link

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Cards lists every known runner by name, online or not.
func (l *Link) Cards(ctx context.Context) ([]store.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	s, err := l.Records(ctx)
	if errors.Is(err, store.ErrNoFleet) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ctx, done := l.Deniable(ctx, ReadingRecords)
	defer done()
	seen, err := s.Cards(ctx)
	err = OrDenied(ctx, err)
	slices.SortFunc(seen, func(a, b store.Seen) int { return strings.Compare(a.Card.GetName(), b.Card.GetName()) })
	return seen, err
}

// Wanted says which runners are meant. The zero value is all that are online.
type Wanted struct {
	// On names one runner, Pool narrows to a pool.
	On, Pool string
	// Where is a selector over the cards.
	Where string
}

// scope is of one request that any of them may answer.
func (w Wanted) scope() subjects.Scope {
	switch {
	case w.On != "":
		return subjects.At(w.On)
	case w.Pool != "":
		return subjects.PoolAny(w.Pool)
	}
	return subjects.Any
}

// Match are the online runners that are wanted, and those it leaves out.
func (l *Link) Match(ctx context.Context, want Wanted) (in, out []store.Seen, err error) {
	var where *store.Where
	if want.Where != "" {
		if where, err = store.CompileWhere(want.Where); err != nil {
			return nil, nil, err
		}
	}
	runners, err := l.Cards(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range runners {
		switch {
		case !r.Online, want.On != "" && r.Card.GetName() != want.On, want.Pool != "" && !slices.Contains(r.Card.GetPools(), want.Pool):
			continue
		}
		matches := true
		if where != nil {
			if matches, err = where.Match(r.Card); err != nil {
				return nil, nil, err
			}
		}
		if matches {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	return in, out, nil
}
