package endpoint

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/subjects"
)

// gate is the runner's membership in the queue groups of the any scopes of
// task. It is open while the runner has a free place. Leaving is a drain, so
// that what was on its way still arrives.
type gate struct {
	nc    *nats.Conn
	log   *slog.Logger
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
	free  func() bool
	rows  []gateRow
	left  []<-chan struct{} // after shut
	close sync.Once
}

type gateRow struct {
	subject string
	handle  func(*Request)
	sub     *nats.Subscription
}

func newGate(nc *nats.Conn, log *slog.Logger, free func() bool) *gate {
	return &gate{nc: nc, log: log, free: free, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// add is for before open.
func (g *gate) add(subject string, handle func(*Request)) {
	g.rows = append(g.rows, gateRow{subject: subject, handle: handle})
}

// open joins the groups and then follows the places.
func (g *gate) open() error {
	if err := g.join(); err != nil {
		close(g.done)
		return err
	}
	go g.follow()
	return nil
}

// changed says that the places may be others now. It never blocks.
func (g *gate) changed() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// shut leaves the groups for good. What was on its way has been heard when it
// returns, if the server answers at all.
func (g *gate) shut() {
	g.close.Do(func() { close(g.stop) })
	<-g.done
	left := g.left
	g.left = nil // who waited once has waited
	if !g.nc.IsConnected() {
		return // a server that is away says nothing
	}
	patience := time.NewTimer(drainTimeout)
	defer patience.Stop()
	for _, left := range left {
		select {
		case <-left:
		case <-patience.C:
			return
		}
	}
}

// drainTimeout is far more than a server takes to say that nothing more comes.
const drainTimeout = 2 * time.Second

func (g *gate) follow() {
	defer close(g.done)
	joined := true
	for {
		select {
		case <-g.wake:
		case <-g.stop:
			g.left = g.leave()
			return
		}
		switch free := g.free(); {
		case free && !joined:
			if err := g.join(); err != nil {
				g.log.Error("cannot take requests again", "error", err)
				continue
			}
			joined = true
		case !free && joined:
			g.leave()
			joined = false
		}
	}
}

func (g *gate) join() error {
	for i := range g.rows {
		row := &g.rows[i]
		sub, err := g.nc.QueueSubscribe(row.subject, subjects.Queue, func(m *nats.Msg) {
			row.handle(&Request{subject: m.Subject, reply: m.Reply, header: m.Header, body: m.Data})
		})
		if err != nil {
			return fmt.Errorf("cannot subscribe to %s: %w", row.subject, err)
		}
		row.sub = sub
	}
	return nil
}

// leave returns what is closed when a group is left and nothing more comes from it.
func (g *gate) leave() (left []<-chan struct{}) {
	for i := range g.rows {
		row := &g.rows[i]
		if row.sub == nil {
			continue
		}
		closed := make(chan struct{})
		row.sub.SetClosedHandler(func(string) { close(closed) })
		switch err := row.sub.Drain(); {
		case err == nil:
			left = append(left, closed)
		case g.nc.IsConnected():
			g.log.Warn("cannot leave a queue group", "subject", row.subject, "error", err)
		}
		row.sub = nil
	}
	return left
}
