package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// StateInitialising is what the card of a runner says that may not hear requests yet.
const StateInitialising = "initialising"

// StateReady is what the card of a runner says that takes work.
const StateReady = "ready"

// StateStopped is what the last card of a runner says that was stopped: it is
// offline at once.
const StateStopped = "stopped"

// Seen is a runner's card and how long ago the server stored it.
type Seen struct {
	Card *pb.Card
	// Rev is the card's revision.
	Rev uint64
	// LastSeen is by the server's clock.
	LastSeen time.Time
	// Age is the time from then to the server's now.
	Age time.Duration
	// Online: younger than Config.OnlineFor, and not stopped.
	Online bool
	// Forgotten is set by WatchCards only: the card is gone, and of Card only
	// the name is known.
	Forgotten bool
}

// Card reads one runner's card. Error: ErrUnknownRunner.
func (s *Store) Card(ctx context.Context, name string) (Seen, error) {
	if subjects.Token(name) != nil {
		return Seen{}, fmt.Errorf("%w %s", ErrUnknownRunner, name)
	}
	e, err := s.fleet.GetLeader(ctx, name)
	if errors.Is(err, kv.ErrNoKey) {
		return Seen{}, fmt.Errorf("%w %s", ErrUnknownRunner, name)
	}
	if err != nil {
		return Seen{}, fmt.Errorf("cannot read card of runner %s: %w", name, err)
	}
	now, err := s.ServerTime(ctx)
	if err != nil {
		return Seen{}, err
	}
	return s.seen(e, now)
}

// Cards reads the cards of all known runners, by name.
func (s *Store) Cards(ctx context.Context) ([]Seen, error) {
	entries := make(map[string]kv.Entry)
	if err := s.fleet.Scan(ctx, 0, func(e kv.Entry) { entries[e.Key] = e }); err != nil {
		return nil, err
	}
	now, err := s.ServerTime(ctx)
	if err != nil {
		return nil, err
	}
	cards := make([]Seen, 0, len(entries))
	for _, e := range entries {
		if e.Body == nil {
			continue
		}
		seen, err := s.seen(e, now)
		if err != nil {
			s.cfg.Logger.Warn("cannot read the card of a runner", "runner", e.Key, "error", err)
			continue
		}
		cards = append(cards, seen)
	}
	slices.SortFunc(cards, func(a, b Seen) int { return strings.Compare(a.Card.GetName(), b.Card.GetName()) })
	return cards, nil
}

// WatchCards calls each with every card as it is now and whenever it is written
// or forgotten, until ctx ends, which is no error, or each returns one. That a
// runner goes offline is no event: nobody writes it.
func (s *Store) WatchCards(ctx context.Context, each func(Seen) error) error {
	if !stream.Tidies(s.fleet.Conn()) {
		return s.listenCards(ctx, each)
	}
	now, err := s.ServerTime(ctx)
	if err != nil {
		return err
	}
	began := time.Now() // its monotonic part counts the server's time on
	var eachErr error
	err = s.fleet.Watch(ctx, nil, 0, func(e *kv.Entry) bool {
		if e == nil {
			return true
		}
		if e.Body == nil {
			eachErr = each(Seen{Card: &pb.Card{Name: e.Key}, LastSeen: e.Stored, Forgotten: true})
			return eachErr == nil
		}
		seen, err := s.seen(*e, now.Add(time.Since(began)))
		if err != nil {
			s.cfg.Logger.Warn("cannot read the card of a runner", "runner", e.Key, "error", err)
			return true
		}
		eachErr = each(seen)
		return eachErr == nil
	})
	return cmp.Or(eachErr, err)
}

// Forget removes the card of a runner that is not online. Errors: ErrLive,
// ErrUnknownRunner.
func (s *Store) Forget(ctx context.Context, name string) error {
	seen, err := s.Card(ctx, name)
	if err != nil {
		return err
	}
	if seen.Online {
		return fmt.Errorf("cannot forget runner %s: %w: it was seen %s ago", name, ErrLive, seen.Age.Round(time.Millisecond))
	}
	e, err := s.fleet.GetLeader(ctx, name)
	if err == nil {
		err = s.fleet.Delete(ctx, name, e.Rev, 0)
	}
	if err != nil && !errors.Is(err, kv.ErrNoKey) {
		return fmt.Errorf("cannot forget runner %s: %w", name, err)
	}
	return nil
}

func (s *Store) seen(e kv.Entry, now time.Time) (Seen, error) {
	card := &pb.Card{}
	if err := pb.UnmarshalRecord(e.Body, card); err != nil {
		return Seen{}, err
	}
	age := max(now.Sub(e.Stored), 0)
	return Seen{Card: card, Rev: e.Rev, LastSeen: e.Stored, Age: age, Online: age < s.cfg.OnlineFor && card.GetState() != StateStopped}, nil
}

// ServerTime is the time at the server that stores the fleet.
func (s *Store) ServerTime(ctx context.Context) (time.Time, error) {
	info, err := s.fleet.Info(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read the time of the server: %w", err)
	}
	return info.TimeStamp, nil
}
