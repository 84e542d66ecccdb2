// Package peers has the gateways of a fleet know each other: each keeps a card, and
// notices when another gateway has a different secret, so that neither accepts the
// tokens of the other.
package peers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/service/kv"
)

// The times of a card: how often it is written, and how long it stays when it is
// not.
const (
	writeEvery = 10 * time.Second
	cardLife   = 30 * time.Second
)

// cards are the keys of all.
const cards = "card.*"

// Card is what a gateway tells the others.
type Card struct {
	ID          string   `json:"id"`
	Host        string   `json:"host"`
	PID         int      `json:"pid"`
	URLs        []string `json:"urls,omitempty"`
	Fingerprint string   `json:"fingerprint"`
	// Order is higher than that of every gateway that was there before; clocks
	// don't count.
	Order int `json:"order"`
	// Refused: it does not serve, as its secret is not the others'.
	Refused bool `json:"refused,omitempty"`
}

// before says which of two gateways was there first.
func (c Card) before(d Card) bool {
	return c.Order < d.Order || c.Order == d.Order && c.ID < d.ID
}

// Knows says whether a gateway has this secret.
func (c Card) Knows(secret string) bool { return c.Fingerprint == fingerprint(secret) }

func (c Card) String() string {
	if len(c.URLs) == 0 {
		return "the gateway on " + c.Host
	}
	return fmt.Sprintf("the gateway on %s (%s)", c.Host, strings.Join(c.URLs, " "))
}

// Peers are the gateways of a fleet, as one of them sees them. End it with Close.
type Peers struct {
	bucket *kv.Bucket
	log    *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup
	again  chan struct{} // the card has changed

	mu     sync.Mutex
	own    Card
	known  map[string]seen // by key
	synced bool
	warned map[string]bool
}

// seen is a card, and when it was last written by this host's clock.
type seen struct {
	Card
	at time.Time
}

// fingerprint tells secrets apart and does not give them away.
func fingerprint(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte("fingerprint of a gateway's secret"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Join writes this gateway's card and begins to watch the others'.
func Join(bucket *kv.Bucket, secret string, log *slog.Logger) *Peers {
	host, _ := os.Hostname()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peers{
		bucket: bucket, log: log, cancel: cancel, again: make(chan struct{}, 1), known: map[string]seen{}, warned: map[string]bool{},
		own: Card{ID: ulid.Make().String(), Host: host, PID: os.Getpid(), Fingerprint: fingerprint(secret)},
	}
	current := make(chan struct{})
	p.wg.Go(func() {
		err := bucket.Watch(ctx, []string{cards}, 0, func(e *kv.Entry) bool { p.saw(e, current); return true })
		if err != nil && ctx.Err() == nil {
			log.Error("the other gateways are not watched any more", "error", err)
		}
	})
	p.wg.Go(func() {
		select {
		case <-current:
			p.keep(ctx)
		case <-ctx.Done():
		}
	})
	return p
}

// Announce says where this gateway listens.
func (p *Peers) Announce(urls []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own.URLs = urls
	p.writeAgain()
}

func (p *Peers) writeAgain() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// judge finds out whether this gateway may serve, and tells the others when that
// changes: one that does not serve is in nobody's way.
func (p *Peers) judge() {
	if refused := p.against() != nil; refused != p.own.Refused {
		p.own.Refused = refused
		p.writeAgain()
	}
}

// against is the gateway because of which this one must not serve: it serves, has
// another secret, and was there first or has kept this one from serving.
func (p *Peers) against() *Card {
	for _, other := range p.known {
		if !other.Refused && other.Fingerprint != p.own.Fingerprint && (p.own.Refused || other.before(p.own)) && time.Since(other.at) < 2*cardLife {
			return &other.Card
		}
	}
	return nil
}

// Close takes the card back.
func (p *Peers) Close() {
	p.cancel()
	p.wg.Wait()
}

func (p *Peers) saw(e *kv.Entry, current chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e == nil {
		if !p.synced {
			p.synced = true
			close(current)
		}
		return
	}
	var card Card
	if e.Body == nil || json.Unmarshal(e.Body, &card) != nil {
		delete(p.known, e.Key)
		p.judge()
		return
	}
	p.known[e.Key] = seen{card, time.Now()}
	p.judge()
	if card.Fingerprint != p.own.Fingerprint && !p.warned[card.ID] {
		p.warned[card.ID] = true
		p.log.Warn("another gateway has another secret: the tokens of one are nothing to the other", "gateway", card.String())
	}
}

// keep writes the card now and then, until ctx ends.
func (p *Peers) keep(ctx context.Context) {
	p.mu.Lock()
	for _, other := range p.known {
		p.own.Order = max(p.own.Order, other.Order+1)
	}
	p.mu.Unlock()
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	var rev uint64
	for {
		p.mu.Lock()
		p.judge()
		p.mu.Unlock()
		rev = p.write(ctx, rev)
		select {
		case <-p.again:
		case <-tick.C:
		case <-ctx.Done():
			p.leave(rev)
			return
		}
	}
}

// write writes the card over its revision, or anew if it is gone.
func (p *Peers) write(ctx context.Context, rev uint64) uint64 {
	p.mu.Lock()
	card := p.own
	p.mu.Unlock()
	body, err := json.Marshal(card)
	if err != nil {
		return rev // it never fails
	}
	ctx, cancel := context.WithTimeout(ctx, writeEvery)
	defer cancel()
	w := kv.Write{Key: keyOf(card), Body: body, Create: rev == 0, Expect: rev, TTL: cardLife}
	next, err := p.bucket.Put(ctx, w)
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		w.Create, w.Expect = true, 0
		next, err = p.bucket.Put(ctx, w)
	}
	if err != nil {
		if ctx.Err() == nil {
			p.log.Warn("cannot write the gateway's card", "error", err)
		}
		return rev
	}
	return next
}

func (p *Peers) leave(rev uint64) {
	if rev == 0 || !p.bucket.Conn().IsConnected() {
		return // it ends by itself
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := p.bucket.Delete(ctx, keyOf(p.own), rev, 0); err != nil {
		p.log.Debug("cannot take the gateway's card back; it ends by itself", "error", err)
	}
}

// Err says why this gateway should not serve.
func (p *Peers) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.synced {
		return errors.New("the other gateways are still being looked for")
	}
	if other := p.against(); other != nil {
		return fmt.Errorf("this gateway's secret differs from that of %s: all gateways of a fleet need the same", other)
	}
	return nil
}

// List reads the cards of the living gateways, those that came first before the
// others.
func List(ctx context.Context, bucket *kv.Bucket) ([]Card, error) {
	var all []Card
	err := bucket.Watch(ctx, []string{cards}, 0, func(e *kv.Entry) bool {
		if e == nil {
			return false
		}
		var card Card
		if e.Body != nil && json.Unmarshal(e.Body, &card) == nil {
			all = append(all, card)
		}
		return true
	})
	slices.SortFunc(all, func(a, b Card) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return all, err
}

func keyOf(c Card) string { return strings.Replace(cards, "*", c.ID, 1) }
