package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/stream"
)

// ManyKeys are asked for in one request: the server refuses more than 1024.
const ManyKeys = 512

// GetMany reads many keys by few requests, from any replica. Those that aren't
// there, or not there yet, are left out. It needs a bucket that is Direct.
func (b *Bucket) GetMany(ctx context.Context, keys []string) (map[string]Entry, error) {
	found := make(map[string]Entry, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), ManyKeys)
		if err := b.getMany(ctx, keys[:n], found); err != nil {
			return nil, err
		}
		keys = keys[n:]
	}
	return found, nil
}

func (b *Bucket) getMany(ctx context.Context, keys []string, into map[string]Entry) error {
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
			last = e.Rev
			if err == nil && !isGone(m.Header) {
				into[e.Key] = e
			}
			return err
		})
		if err != nil || end.Get("Nats-Num-Pending") == "0" || last < request.From || last == 0 {
			return err
		}
		request.From = last + 1 // it was more than the server sends at once
	}
}

func (b *Bucket) directEntry(m *nats.Msg) (Entry, error) {
	e := Entry{Body: m.Data}
	var ok bool
	if e.Key, ok = strings.CutPrefix(m.Header.Get("Nats-Subject"), b.subject); !ok {
		return e, errors.New("invalid reply of the server")
	}
	var err error
	if e.Rev, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err != nil {
		return e, err
	}
	e.Stored, err = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return e, err
}

// Range calls each with the entries whose revisions are between two, these
// included, in order, until it says no; markers have no body. What is written
// again meanwhile is missed where it was, and comes where it is now if that is
// within the range. It needs a bucket that is Direct.
func (b *Bucket) Range(ctx context.Context, first, last uint64, each func(Entry) (more bool)) error {
	request := struct {
		From     uint64 `json:"seq"`
		Batch    int    `json:"batch"`
		MaxBytes int    `json:"max_bytes"`
	}{max(first, 1), rangeBatch, bodiesBytes}
	for request.From <= last {
		end, err := b.directGet(ctx, &request, func(m *nats.Msg) error {
			e, err := b.directEntry(m)
			if err != nil {
				return err
			}
			if isGone(m.Header) {
				e.Body, e.Header = nil, m.Header
			}
			if e.Rev > last || !each(e) {
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
		read, err := strconv.ParseUint(end.Get("Nats-Last-Sequence"), 10, 64)
		if err != nil || read < request.From || end.Get("Nats-Num-Pending") == "0" {
			return nil // no more
		}
		request.From = read + 1
	}
	return nil
}

const (
	// rangeBatch is what Range asks for at a time: what comes after its end is read for nothing.
	rangeBatch = 512
	// bodiesBatch and bodiesBytes bound what Bodies asks for at a time: the
	// server answers no other request of the connection meanwhile.
	bodiesBatch = 4096
	bodiesBytes = 8 << 20
)

// Bodies calls each with the bare values of all keys, up to a revision at least,
// until it says no. It is Scan without keys, revisions and times, and takes two
// thirds of its time: what has no headers costs the server and us far less. It
// needs a bucket that is Direct.
func (b *Bucket) Bodies(ctx context.Context, until uint64, each func([]byte) (more bool)) error {
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
func (b *Bucket) directGet(ctx context.Context, request any, each func(*nats.Msg) error) (nats.Header, error) {
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
	ctx, cancel := context.WithTimeoutCause(ctx, stream.RequestTimeout, errNoAnswer)
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
