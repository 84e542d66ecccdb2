package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
		if subjects.RunID(id) != nil {
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
		var last uint64
		end, err := b.directGet(ctx, &request, func(m *nats.Msg) error {
			e, err := b.directEntry(m)
			last = e.rev
			if err == nil && !isGone(m.Header) {
				into[e.key] = e
			}
			return err
		})
		if err != nil || end.Get("Nats-Num-Pending") == "0" || last < request.From || last == 0 {
			return err
		}
		request.From = last + 1 // it was more than the server sends at once
	}
}

func (b *bucket) directEntry(m *nats.Msg) (entry, error) {
	e := entry{body: m.Data}
	var ok bool
	if e.key, ok = strings.CutPrefix(m.Header.Get("Nats-Subject"), b.subject); !ok {
		return e, errors.New("invalid reply of the server")
	}
	var err error
	if e.rev, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err != nil {
		return e, err
	}
	e.stored, err = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return e, err
}

const (
	// bodiesBatch and bodiesBytes bound what bodies asks for at a time: the
	// server answers no other request of the connection meanwhile.
	bodiesBatch = 4096
	bodiesBytes = 8 << 20
)

// bodies calls each with the bare values of all keys, up to a revision at least,
// until it says no. It is scan without keys, revisions and times, and takes two
// thirds of its time: what has no headers costs the server and us far less.
func (b *bucket) bodies(ctx context.Context, until uint64, each func([]byte) (more bool)) error {
	request := struct {
		From      uint64 `json:"seq"`
		Batch     int    `json:"batch"`
		MaxBytes  int    `json:"max_bytes"`
		NoHeaders bool   `json:"no_hdr"`
	}{1, bodiesBatch, bodiesBytes, true}
	for {
		end, err := b.directGet(ctx, &request, func(m *nats.Msg) error {
			if len(m.Data) > 0 && !each(m.Data) {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		last, err := strconv.ParseUint(end.Get("Nats-Last-Sequence"), 10, 64)
		if err != nil || last < request.From || last >= until {
			return nil // no more: then the reply says no sequence
		}
		request.From = last + 1
	}
}

// errEnough ends a directGet without being its error.
var errEnough = errors.New("enough")

// directGet asks any replica for messages and calls each with them. It returns
// the header of the end.
func (b *bucket) directGet(ctx context.Context, request any, each func(*nats.Msg) error) (nats.Header, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	messages := make(chan *nats.Msg, bodiesBatch+1)
	inbox := b.nc.NewInbox()
	sub, err := b.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(b.api+"DIRECT.GET."+b.name, inbox, body); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	for {
		var m *nats.Msg
		select {
		case m = <-messages:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			if err := each(m); err != nil {
				return nil, err
			}
		case "204", "404": // the end, and nothing at all
			return m.Header, nil
		case "503":
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("the server says %s %s", status, m.Header.Get("Description"))
		}
	}
}
