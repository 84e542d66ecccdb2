package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

const (
	// maxBatch bounds how many messages are asked for at once: more than there are
	// slots, where most of them can't start yet.
	maxBatch = 256
	// hangFor is how long a request waits at the server, which says every heartbeat
	// that it still does.
	hangFor   = 30 * time.Second
	heartbeat = 5 * time.Second
	// cancelTimeout is how long the end of such a request is waited for.
	cancelTimeout = 2 * time.Second
)

var errSilent = errors.New("the server is silent about the queue")

// request sends a pull to a consumer.
func (q *Queue) request(pool, priority, reply, body string) error {
	subject := stream.Prefix(q.cfg.JS) + "CONSUMER.MSG.NEXT." + q.stream + "." + subjects.WorkConsumer(pool, priority)
	return q.nc.PublishRequest(subject, reply, []byte(body))
}

// look takes what waits, the highest priority first, and says how much there was.
func (q *Queue) look(ctx context.Context, pools []string, free int) (got int, err error) {
	batch := free
	if q.returned > 0 { // most of it can't start: get through it faster
		batch = max(free, min(2*max(q.batch, free), maxBatch))
	}
	q.batch, q.returned = min(batch, maxBatch), 0
	for _, priority := range subjects.Priorities {
		for _, pool := range pools {
			n, err := q.lookAt(ctx, pool, priority)
			got += n
			if err != nil {
				return got, err
			}
			if q.free() == 0 {
				return max(got, 1), nil
			}
		}
		if got > 0 {
			return got, nil // and look at the highest again
		}
	}
	return got, nil
}

// lookAt is look for one consumer.
func (q *Queue) lookAt(ctx context.Context, pool, priority string) (got int, err error) {
	q.pulls++
	reply := q.inbox + "." + strconv.Itoa(q.pulls)
	if err := q.request(pool, priority, reply, fmt.Sprintf(`{"batch":%d,"no_wait":true}`, q.batch)); err != nil {
		return 0, err
	}
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for got < q.batch {
		select {
		case m := <-q.came:
			if m.Reply != "" {
				got++
				q.arrived(ctx, m)
			} else if m.Subject == reply {
				return got, endOf(m)
			}
		case <-timer.C:
			return got, errSilent
		case <-ctx.Done():
			return got, context.Cause(ctx)
		}
	}
	return got, nil
}

// endOf is the error in the message that ends a pull: nil, if it just ended.
func endOf(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "404", "408":
		return nil
	default:
		return fmt.Errorf("the server says %s %s", status, m.Header.Get("Description"))
	}
}

// await leaves a request on each consumer, and takes what comes until one of them
// has ended or no slot is free.
func (q *Queue) await(ctx context.Context, reconnected <-chan nats.Status, pools []string) (err error) {
	end, inbox, err := q.openWait()
	if err != nil {
		return err
	}
	defer func() { end(ctx, pools) }()
	batch := min(max(1, q.free()), maxBatch)
	left := map[string]int{} // by consumer
	for _, priority := range subjects.Priorities {
		for _, pool := range pools {
			left[subjects.WorkConsumer(pool, priority)] = batch
			body := fmt.Sprintf(`{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, batch, hangFor, heartbeat)
			if err := q.request(pool, priority, inbox, body); err != nil {
				return err
			}
		}
	}
	silent := time.NewTimer(3 * heartbeat)
	defer silent.Stop()
	for {
		select {
		case m := <-q.came:
			silent.Reset(3 * heartbeat)
			if m.Reply == "" {
				if m.Header.Get("Status") == "100" {
					continue
				}
				if m.Subject == inbox {
					return endOf(m)
				}
				continue // of a pull before
			}
			for _, m := range q.burst(m) {
				consumer := q.arrived(ctx, m)
				if left[consumer]--; left[consumer] == 0 {
					return nil
				}
			}
			if q.free() == 0 {
				return nil
			}
		case <-q.wake:
			if q.free() == 0 {
				return nil
			}
		case m := <-q.told:
			end(ctx, pools)
			q.heard(ctx, m)
			return nil
		case <-reconnected:
			q.there = false
			return nil
		case <-silent.C:
			return errSilent
		case <-ctx.Done():
			return nil
		}
	}
}

// burst is a message and those that have come with it, the highest priority
// first: several consumers may give one runner their next at the same time.
func (q *Queue) burst(first *nats.Msg) []*nats.Msg {
	all := []*nats.Msg{first}
	for more := true; more && len(all) < maxBatch; {
		select {
		case m := <-q.came:
			if m.Reply != "" {
				all = append(all, m)
			}
		default:
			more = false
		}
	}
	slices.SortStableFunc(all, func(a, b *nats.Msg) int { return cmp.Compare(q.rank(a), q.rank(b)) })
	return all
}

func (q *Queue) rank(m *nats.Msg) int {
	_, priority, _, _ := q.cfg.Space.ParseWork(m.Subject)
	return slices.Index(subjects.Priorities[:], priority)
}

// openWait subscribes to an inbox for requests that wait. To end, they are taken
// back by leaving it; what was on its way is heard.
func (q *Queue) openWait() (end func(context.Context, []string), inbox string, err error) {
	inbox = q.nc.NewInbox()
	sub, err := q.nc.Subscribe(inbox, func(m *nats.Msg) { q.came <- m })
	if err != nil {
		return nil, "", err
	}
	left := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(left) })
	ended := false
	return func(ctx context.Context, pools []string) {
		if ended {
			return
		}
		ended = true
		defer q.retire(ctx, pools, inbox)
		if sub.Drain() != nil || !q.nc.IsConnected() {
			return
		}
		timer := time.NewTimer(cancelTimeout)
		defer timer.Stop()
		for {
			select {
			case m := <-q.came:
				q.arrived(ctx, m)
			case <-left:
				return
			case <-timer.C:
				return
			}
		}
	}, inbox, nil
}

// retire has the server drop the requests of an inbox that was left, which it does
// when it looks at them, and hears the inbox for as long as they could last: to a
// server somebody who listens to everything looks like interest in them, and what
// it then sends there would be missed until work.AckWait is over.
func (q *Queue) retire(ctx context.Context, pools []string, inbox string) {
	for _, pool := range pools {
		for _, priority := range subjects.Priorities {
			if err := q.cfg.Work.Look(ctx, pool, priority); err != nil {
				break
			}
		}
	}
	sub, err := q.nc.Subscribe(inbox, func(m *nats.Msg) {
		if m.Reply != "" {
			select {
			case q.came <- m:
			case <-ctx.Done():
			}
		}
	})
	if err != nil {
		return // the connection is gone, and the requests with it
	}
	q.retired = append(q.retired, retired{sub, time.Now()})
	q.dropRetired(maxRetired)
}

// retired is an inbox that was left, and since when.
type retired struct {
	sub   *nats.Subscription
	since time.Time
}

// maxRetired bounds how many such inboxes are heard.
const maxRetired = 16

// dropRetired hears no more those whose requests are over, and the oldest of more
// than there may be.
func (q *Queue) dropRetired(most int) {
	for len(q.retired) > most || len(q.retired) > 0 && time.Since(q.retired[0].since) > hangFor {
		_ = q.retired[0].sub.Unsubscribe()
		q.retired = q.retired[1:]
	}
}

// arrived takes one message, or gives it back, and names its consumer.
func (q *Queue) arrived(ctx context.Context, m *nats.Msg) (consumer string) {
	if m.Reply == "" || !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		return "" // a late end of a pull
	}
	d, err := q.newDelivery(m)
	if err != nil {
		q.log.Warn("cannot read a message of the queue", "subject", m.Subject, "error", err)
		return ""
	}
	q.Counts.Taken.Add(1)
	q.take(ctx, d)
	return d.consumer
}
