package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/stream"
)

const (
	// aheadMost is what the server sends ahead to one reader at most, and aheadAll to all readers of a connection together:
	// replies stand behind it, and at the server's limit of what a client may have pending the connection is cut.
	aheadMost = 4 << 20
	aheadAll  = 16 << 20
	// aheadLeast is what a reader may have however many there are, and aheadFirst what one begins with: more than the
	// largest message that a writer makes.
	aheadLeast = 128 << 10
	aheadFirst = 640 << 10
	// aheadHuge is more than any message can have.
	aheadHuge = 64 << 20
	// pullMessages is how many messages may be on the way.
	pullMessages = 256
	// pullLife is how long the server keeps a request for messages.
	pullLife = 30 * time.Second
)

// Ahead is shared by the readers of one connection: the more there are, the less each is sent ahead. The zero value is for
// use; a nil one bounds nothing but each reader.
type Ahead struct {
	readers atomic.Int64
	once    sync.Once
	turns   chan struct{}
}

// singleReads is how many sparing readers are given a message at a time. What the
// server says of one is twice as long as the message, and garbage a moment later.
const singleReads = 4

// turn waits for a sparing reader's turn; done ends it.
func (a *Ahead) turn(ctx context.Context) (done func(), err error) {
	if a == nil {
		return func() {}, nil
	}
	a.once.Do(func() { a.turns = make(chan struct{}, singleReads) })
	select {
	case a.turns <- struct{}{}:
		return func() { <-a.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// most is what a reader may be sent ahead now.
func (a *Ahead) most() int {
	if a == nil {
		return aheadMost
	}
	return min(max(aheadAll/int(max(a.readers.Load(), 1)), aheadLeast), aheadMost)
}

func (a *Ahead) add(n int64) {
	if a != nil {
		a.readers.Add(n)
	}
}

// puller asks a consumer for messages as fast as they are taken. What is on the way is bounded; it begins with little and
// grows with what is taken, so that a reader who leaves soon, or takes nothing, costs little.
type puller struct {
	nc       *nats.Conn
	subject  string // where to ask
	ahead    *Ahead
	sub      *nats.Subscription
	messages chan *nats.Msg
	closed   chan struct{}

	grown int // bytes that may be on the way, as far as there are not too many readers
	least int // that must be, for a large message to come
	taken int // since it grew
	on    struct{ messages, bytes int }
}

func newPuller(log *stored, consumer string, ahead *Ahead) (*puller, error) {
	p := &puller{
		nc: log.js.Conn(), subject: stream.Prefix(log.js) + "CONSUMER.MSG.NEXT." + log.stream + "." + consumer, ahead: ahead,
		messages: make(chan *nats.Msg, 2*pullMessages), closed: make(chan struct{}), grown: aheadFirst,
	}
	var err error
	if p.sub, err = p.nc.ChanSubscribe(p.nc.NewInbox(), p.messages); err != nil {
		return nil, err
	}
	p.sub.SetClosedHandler(func(string) { close(p.closed) })
	ahead.add(1)
	return p, nil
}

func (p *puller) close() {
	p.ahead.add(-1)
	_ = p.sub.Unsubscribe() // fails where the connection is closed, which has ended it as well
}

// next waits for a message until ctx ends.
func (p *puller) next(ctx context.Context) (*nats.Msg, error) {
	for {
		if err := p.ask(); err != nil {
			return nil, err
		}
		select {
		case m := <-p.messages:
			status := m.Header.Get("Status")
			if status == "" || len(m.Data) > 0 {
				p.took(m)
				return m, nil
			}
			if err := p.heed(status, m.Header); err != nil {
				return nil, err
			}
		case <-p.closed:
			return nil, nats.ErrBadSubscription
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *puller) window() int { return max(min(p.grown, p.ahead.most()), p.least) }

// ask asks for more when less than half of what may be is on the way.
func (p *puller) ask() error {
	window := p.window()
	if p.on.bytes >= (window+1)/2 && p.on.messages >= pullMessages/2 {
		return nil
	}
	request := struct {
		Batch    int   `json:"batch"`
		MaxBytes int   `json:"max_bytes"`
		Expires  int64 `json:"expires"`
	}{pullMessages - p.on.messages, window - p.on.bytes, int64(pullLife)}
	if request.Batch <= 0 || request.MaxBytes <= 0 {
		return nil
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	p.on.messages += request.Batch
	p.on.bytes += request.MaxBytes
	return p.nc.PublishRequest(p.subject, p.sub.Subject, body)
}

// took counts a message, and lets the window grow.
func (p *puller) took(m *nats.Msg) {
	p.on.messages = max(p.on.messages-1, 0)
	p.on.bytes = max(p.on.bytes-m.Size(), 0)
	if p.taken += m.Size(); p.taken >= p.grown && p.grown < aheadMost {
		p.grown, p.taken = min(2*p.grown, aheadMost), 0
	}
}

// heed reads what the server says of a request: how much of it did not come. An error is for another consumer.
func (p *puller) heed(status string, header nats.Header) error {
	text := header.Get("Description")
	ended := status == "404" || status == "408" || status == "409" && (text == "Message Size Exceeds MaxBytes" || text == "Batch Completed")
	switch {
	case status == "100":
		return nil
	case !ended:
		return fmt.Errorf("the server says %s %s", status, text)
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(header.Get(name)) // a server that says nothing is looked after by follower.look
		return max(n, 0)
	}
	left := number("Nats-Pending-Bytes")
	p.on.messages = max(p.on.messages-number("Nats-Pending-Messages"), 0)
	p.on.bytes = max(p.on.bytes-left, 0)
	if text == "Message Size Exceeds MaxBytes" && p.on.bytes == 0 && left >= p.window() {
		if p.least = 2 * left; p.least > aheadHuge {
			return fmt.Errorf("a message has more than %d bytes", left)
		}
	}
	return nil
}
