package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/subjects"
)

// manyKeys are asked for in one request: the server refuses more than 1024.
const manyKeys = 512

// getRuns reads runs in the order given. The first that is unknown is an error.
func (s *Store) getRuns(ctx context.Context, ids []string) ([]entry, error) {
	if len(ids) == 1 || !s.runs.direct {
		found := make([]entry, 0, len(ids))
		for _, id := range ids {
			e, err := s.getRun(ctx, id)
			if err != nil {
				return nil, err
			}
			found = append(found, e)
		}
		return found, nil
	}
	for _, id := range ids {
		if subjects.Token(id) != nil {
			return nil, unknown(id)
		}
	}
	have := make(map[string]entry, len(ids))
	for rest := ids; len(rest) > 0; {
		n := min(len(rest), manyKeys)
		if err := s.runs.getMany(ctx, rest[:n], have); err != nil {
			return nil, fmt.Errorf("cannot read runs: %w", err)
		}
		rest = rest[n:]
	}
	found := make([]entry, 0, len(ids))
	for _, id := range ids {
		e, ok := have[id]
		if !ok { // perhaps not on that replica yet
			var err error
			if e, err = s.getRun(ctx, id); err != nil {
				return nil, err
			}
		}
		found = append(found, e)
	}
	return found, nil
}

// getMany reads many keys by one direct get; those that aren't there are left out.
func (b *bucket) getMany(ctx context.Context, keys []string, into map[string]entry) error {
	var request struct {
		Last []string `json:"multi_last"`
		From uint64   `json:"seq,omitempty"`
	}
	for _, key := range keys {
		request.Last = append(request.Last, b.subject+key)
	}
	for {
		pending, last, err := b.getPart(ctx, &request, into)
		if err != nil || pending == 0 || last < request.From {
			return err
		}
		request.From = last + 1 // it was more than the server sends at once
	}
}

func (b *bucket) getPart(ctx context.Context, request any, into map[string]entry) (pending, last uint64, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, 0, err
	}
	messages := make(chan *nats.Msg, manyKeys+1)
	inbox := b.nc.NewInbox()
	sub, err := b.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(b.api+"DIRECT.GET."+b.name, inbox, body); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errors.New("no answer of the server"))
	defer cancel()
	for {
		var m *nats.Msg
		select {
		case m = <-messages:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
		switch m.Header.Get("Status") {
		case "":
		case "204":
			pending, _ = strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
			return pending, last, nil
		case "404":
			return 0, 0, nil
		case "503":
			return 0, 0, nats.ErrNoResponders
		default:
			return 0, 0, fmt.Errorf("the server says %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
		}
		e := entry{body: m.Data, key: m.Header.Get("Nats-Subject")}
		if len(e.key) <= len(b.subject) {
			return 0, 0, errors.New("invalid reply of the server")
		}
		e.key = e.key[len(b.subject):]
		if e.rev, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err != nil {
			return 0, 0, err
		}
		if e.stored, err = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp")); err != nil {
			return 0, 0, err
		}
		last = e.rev
		if !isGone(m.Header) {
			into[e.key] = e
		}
	}
}
