package presence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
)

// claimed is the hold on a card: only its holder can write it.
type claimed struct {
	mu         sync.Mutex
	start      int64
	rev        uint64
	superseded bool
}

var errSuperseded = errors.New("another start has taken over this runner's identity")

const (
	// look is how often a card is looked at whose runner may be gone.
	look = 500 * time.Millisecond
	// sayEvery is how often a start says what it waits for.
	sayEvery = 5 * time.Second
	// askEvery is how often the name is asked for an answer meanwhile.
	askEvery = 2 * time.Second
)

// Claim waits until it is known whether this start may have the runner's
// identity, takes it and begins the heartbeat. Nothing of an earlier life may be
// touched before. Errors: ErrNameTaken, ErrCopied, and what ended ctx. A NATS
// that can't say is waited for.
func (p *Presence) Claim(ctx context.Context, records *store.Store) error {
	p.store = records
	var w watch
	for {
		verdict, err := p.tryClaim(ctx, &w)
		switch {
		case verdict == take && err == nil:
			p.beats.Go(p.keepCard)
			return nil
		case verdict == refuse, err != nil && !passes(err):
			return err
		}
		p.sayWaiting(&w, err)
		if !stream.Pause(ctx, look) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// passes says whether an error of a claim may pass by itself.
func passes(err error) bool {
	return stream.IsTransient(err) || errors.Is(err, store.ErrConflict)
}

// watch is what a start has seen of the one that may hold its identity.
type watch struct {
	began, asked, said time.Time
	looked             bool
	rev                uint64 // at the first look
	renewed, answered  bool
}

// tryClaim looks at the card once, and takes the identity if it may.
func (p *Presence) tryClaim(ctx context.Context, w *watch) (verdict, error) {
	seen, err := p.store.Card(ctx, p.cfg.Name)
	if err != nil && !errors.Is(err, store.ErrUnknownRunner) {
		return wait, err
	}
	a, h := p.asking(), holder{Card: seen.Card, Age: seen.Age, Stopped: seen.Card.GetState() == store.StateStopped}
	if w.looked && seen.Rev != w.rev && !h.Stopped {
		w.renewed = true
	}
	if !w.looked {
		w.began = time.Now()
	}
	w.looked, w.rev = true, seen.Rev
	h.Renewed, h.Watched = w.renewed, time.Since(w.began)
	if !h.isOwn(a) && time.Since(w.asked) > askEvery {
		w.answered = p.cfg.Answers(ctx)
		w.asked = time.Now()
	}
	h.Answered = w.answered
	v, renew, err := decide(a, h)
	if v != take {
		return v, err
	}
	if renew {
		if err := p.cfg.Data.newInstance(); err != nil {
			return refuse, fmt.Errorf("cannot give data directory %s an identity of its own: %w", a.DataDir, err)
		}
		p.log.Warn("this data directory is a copy, or was moved here: the runner has a new instance id", "runner", p.cfg.Name, "data", a.DataDir)
	}
	return take, p.take(ctx, seen)
}

func (p *Presence) asking() asking {
	d := p.cfg.Data
	return asking{
		Name: p.cfg.Name, Instance: d.Instance, DataDir: d.Path, Place: d.Place, Origin: d.Origin, IsNew: d.isNew,
		Uptime: uptime(), Adopt: p.cfg.Adopt, OnlineFor: p.cfg.OfflineAfter,
	}
}

// isOwn: the lock on the data directory shows that the holder is dead.
func (h holder) isOwn(a asking) bool {
	return h.Card != nil && h.Card.GetInstance() == a.Instance && a.Place.from(placeOf(h.Card)) == samePlace
}

// take writes the card with a start number that nobody has had, on condition
// that the card is the one that was decided on.
func (p *Presence) take(ctx context.Context, seen store.Seen) error {
	now, err := p.store.ServerTime(ctx)
	if err != nil {
		return err
	}
	facts := p.gatherFacts()
	facts.Start = max(seen.Card.GetStart()+1, now.UnixMilli())
	p.mu.Lock()
	p.facts = facts
	p.mu.Unlock()
	p.measureClock(ctx)
	rev, err := p.store.ClaimCard(ctx, p.Card(), seen.Rev)
	if err != nil {
		return err
	}
	p.held.mu.Lock()
	p.held.start, p.held.rev = facts.Start, rev
	p.held.mu.Unlock()
	if err := p.cfg.Data.used(); err != nil {
		p.log.Warn("cannot take note of where the data directory is", "data", p.cfg.Data.Path, "error", err)
	}
	return nil
}

func (p *Presence) sayWaiting(w *watch, err error) {
	if err == nil {
		err = fmt.Errorf("runner %s was seen a short while ago and does not answer: waiting until it is known to be gone", p.cfg.Name)
	}
	p.cfg.OnWait(err)
	if time.Since(w.said) > sayEvery {
		w.said = time.Now()
		p.log.Warn("cannot start yet", "runner", p.cfg.Name, "error", oneLine(err))
	}
}

// write renews the card. That another start number stands in it ends this life.
func (p *Presence) write(ctx context.Context, c *pb.Card) error {
	p.held.mu.Lock()
	defer p.held.mu.Unlock()
	if p.held.superseded {
		return errSuperseded
	}
	rev, err := p.store.RenewCard(ctx, c, p.held.rev)
	if err == nil {
		p.held.rev = rev
		return nil
	}
	if other := (*store.SupersededError)(nil); errors.As(err, &other) {
		p.held.superseded = true
		p.log.Error("this runner has lost its identity to another start of it and ends its runs", "runner", p.cfg.Name, "host", other.Card.GetHost(), "start", other.Card.GetStart())
		p.cfg.OnSuperseded(other)
	}
	return err
}
