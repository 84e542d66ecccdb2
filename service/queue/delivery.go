package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/service/work"
)

// A delivery is a message in this runner's hands.
type delivery struct {
	work.Work
	msg      *nats.Msg
	consumer string
	times    uint64 // it was delivered, this one included
	req      *pb.TaskRequest
	digest   string
	retries  pb.Retries
}

func (q *Queue) newDelivery(m *nats.Msg) (*delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	w, ok := q.cfg.Work.Stored(stream.Message{Subject: m.Subject, Seq: meta.Sequence.Stream, Header: m.Header, Data: m.Data, Time: meta.Timestamp})
	if !ok {
		return nil, fmt.Errorf("its subject is not one of work")
	}
	return &delivery{Work: w, msg: m, consumer: meta.Consumer, times: meta.NumDelivered}, nil
}

// The four ways in which a message leaves a runner's hands. Should the server not
// hear of it, it is delivered again after work.AckWait.

// done takes it out of the queue.
func (d *delivery) done() { _ = d.msg.Respond([]byte("+ACK")) }

// drop takes out what can never run.
func (d *delivery) drop() { _ = d.msg.Respond([]byte("+TERM")) }

// giveBack has it delivered to whoever can take it, now or later: in whole
// seconds, rounded up.
func (d *delivery) giveBack(after time.Duration) {
	if after <= 0 {
		_ = d.msg.Respond([]byte("-NAK"))
		return
	}
	seconds := (after + time.Second - 1) / time.Second
	_ = d.msg.Respond(fmt.Appendf(nil, `-NAK {"delay":%d}`, int64(seconds*time.Second)))
}

// giveBackSoon is for what another runner may take.
func (d *delivery) giveBackSoon() {
	_ = d.msg.Respond(fmt.Appendf(nil, `-NAK {"delay":%d}`, int64(passedOn)))
}

// passedOn is how long such a message waits: not at all, it would come back here.
const passedOn = 250 * time.Millisecond

func (d *delivery) inProgress() { _ = d.msg.Respond([]byte("+WPI")) }

// hold has the server told, again and again, that the message is in hand.
func (q *Queue) hold(d *delivery) (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held[d] = struct{}{}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.held, d)
	}
}

// keepHolding does so for all, also for what still runs after ctx has ended:
// until no message is in hand any more.
func (q *Queue) keepHolding(ctx context.Context) {
	ticker := time.NewTicker(q.cfg.Work.ProgressEvery())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		q.mu.Lock()
		held := make([]*delivery, 0, len(q.held))
		for d := range q.held {
			held = append(held, d)
		}
		q.mu.Unlock()
		for _, d := range held {
			d.inProgress()
		}
	}
}
