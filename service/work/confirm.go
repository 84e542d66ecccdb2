package work

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Told is what runners are to confirm: whether a pool of theirs is paused.
type Told struct {
	Pool    string
	Paused  bool
	Runners []string
	// Patience is how long they have.
	Patience time.Duration
}

// Confirm tells a pool's runners to look whether it is paused, and returns those that
// have not confirmed in time, by name.
func (q *Queue) Confirm(ctx context.Context, t Told) (silent []string, err error) {
	missing := map[string]bool{}
	for _, name := range t.Runners {
		missing[name] = true
	}
	nc, tell := q.cfg.JS.Conn(), q.cfg.Space.QueueTell(t.Pool)
	replies := make(chan *nats.Msg, 64)
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, replies)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	timeout := time.NewTimer(t.Patience)
	defer timeout.Stop()
	again := time.NewTicker(t.Patience / 4)
	defer again.Stop()
	if err := nc.PublishRequest(tell, inbox, nil); err != nil {
		return nil, err
	}
	for len(missing) > 0 {
		select {
		case m := <-replies:
			var said struct {
				Runner string `json:"runner"`
				Paused bool   `json:"paused"`
			}
			if json.Unmarshal(m.Data, &said) == nil && said.Paused == t.Paused {
				delete(missing, said.Runner)
			}
		case <-again.C: // a runner may just have come back
			if err := nc.PublishRequest(tell, inbox, nil); err != nil {
				return nil, err
			}
		case <-timeout.C:
			return slices.Sorted(maps.Keys(missing)), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, nil
}
