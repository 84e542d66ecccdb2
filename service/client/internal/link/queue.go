package link

import (
	"context"
	"errors"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/work"
)

// Queue is the fleet's queue, which need not be there.
func (l *Link) Queue(ctx context.Context) (*work.Queue, error) {
	records, err := l.Records(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work == nil {
		l.work = work.New(work.Config{JS: l.JS, Space: l.Space, Store: records})
	}
	return l.work, nil
}

// MakeQueue is Queue that makes what is missing, and tells the runners.
func (l *Link) MakeQueue(ctx context.Context) (*work.Queue, error) {
	q, err := l.Queue(ctx)
	if errors.Is(err, store.ErrNoFleet) { // before the first runner
		if _, err = store.Open(ctx, l.JS, l.Space, store.Config{OnlineFor: l.OnlineFor}); err == nil {
			q, err = l.Queue(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	made, err := q.Ensure(ctx)
	if made {
		l.tellAll(ctx)
	}
	return q, err
}

// tellAll tells every runner that the queue was made; else they look by
// themselves, in their time.
func (l *Link) tellAll(ctx context.Context) {
	runners, err := l.Cards(ctx)
	if err != nil {
		return
	}
	told := map[string]bool{}
	for _, seen := range runners {
		for _, pool := range seen.Card.GetPools() {
			if !told[pool] {
				told[pool] = true
				_ = l.NC.Publish(l.Space.QueueTell(pool), nil)
			}
		}
	}
}
