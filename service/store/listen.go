package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// cardsPending is room for the cards that are written while they are read.
const cardsPending = 4096

// listenCards is WatchCards for a user that may not delete consumers, so that a
// watch would leave some: it reads all cards and listens to those that are
// written, and begins again after a reconnect.
func (s *Store) listenCards(ctx context.Context, each func(Seen) error) error {
	nc := s.fleet.Conn()
	reconnected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(reconnected)
	written := make(chan *nats.Msg, cardsPending)
	sub, err := nc.ChanSubscribe(s.fleet.Subject(">"), written)
	if err != nil {
		return fmt.Errorf("cannot watch bucket %s: %w", s.fleet.Name(), err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	read := func() error {
		cards, err := s.Cards(ctx)
		for _, seen := range cards {
			if err := each(seen); err != nil {
				return err
			}
		}
		return err
	}
	if err := read(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-reconnected:
			if !open {
				return nats.ErrConnectionClosed
			}
			err = read()
		case msg := <-written:
			err = s.heard(msg, each)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// heard is the card in a message that was just written.
func (s *Store) heard(msg *nats.Msg, each func(Seen) error) error {
	name := strings.TrimPrefix(msg.Subject, s.fleet.Subject(""))
	if len(msg.Data) == 0 {
		return each(Seen{Card: &pb.Card{Name: name}, LastSeen: time.Now(), Forgotten: true})
	}
	now := time.Now()
	seen, err := s.seen(kv.Entry{Key: name, Body: msg.Data, Stored: now}, now)
	if err != nil {
		s.cfg.Logger.Warn("cannot read the card of a runner", "runner", name, "error", err)
		return nil
	}
	return each(seen)
}
