// Package events is one stream for all that a page shows: the fleet, runs, jobs,
// the queue, schedules and the logs of runs.
//
// A log has every record. Everything else is the newest state of each item: steps in
// between may be skipped, the last one is never lost. An event's id says where each of
// the stream's topics stands, so that a client goes on at any gateway.
package events

import (
	"bufio"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/gateway/stream"
)

// keepTime is how often a stream says where it stands that has said nothing else:
// a place that many changes went by would be too old at some time.
const keepTime = 15 * time.Second

type server struct {
	*room.House
	queue, schedules *board
}

// Routes are the room's.
func Routes(h *room.House) []room.Route {
	s := &server{House: h}
	s.queue, s.schedules = newBoard(s.readQueue), newBoard(s.readSchedules)
	return []room.Route{{Method: "GET", Path: "/api/v1/events", Scope: auth.ScopeRead, Handle: s.events}}
}

// feedBatch is how many changes of a feed are taken at once.
const feedBatch = 64

// sender is one client's stream.
type sender struct {
	*server
	out *stream.Events
	all []*topic

	mu sync.Mutex // of the topics' positions, and the order of events
}

func (s *server) events(w http.ResponseWriter, r *http.Request) {
	all, err := readTopics(r.URL.Query().Get("topics"))
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("last") // for who opens a stream anew with other topics
	}
	lost := resume(all, last)
	if allEnded(all) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx, out, done := stream.Open(s.Life, w, r)
	defer done()
	if r.Method == http.MethodHead {
		return
	}
	one := &sender{server: s, out: out, all: all}
	if lost {
		err = out.Event("reset", "", []byte("{}"))
	}
	if err == nil {
		err = one.run(ctx)
	}
	stream.EndedEarly(ctx, s.Log, err)
}

// run sends until the client leaves, or everything has ended.
func (s *sender) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, t := range s.all {
		follow := s.followFeed
		switch t.kind {
		case "log":
			follow = s.followLog
		case "queue", "schedules":
			follow = s.followBoard
		}
		wg.Go(func() {
			if err := follow(ctx, t); err != nil {
				cancel(err)
			}
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	tick := time.NewTicker(keepTime)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return context.Cause(ctx)
		case <-tick.C:
			s.mu.Lock()
			id := idOf(s.all)
			s.mu.Unlock()
			if id != "" {
				s.out.Place(id)
			}
		}
	}
}

// send sends an event, after which a topic stands at a position; without one the
// event has no id.
func (s *sender) send(t *topic, at, kind string, data []byte) error {
	return s.sendOf(t, at, kind, func(out *bufio.Writer) { _, _ = out.Write(data) })
}

// sendOf is send of data that a function writes.
func (s *sender) sendOf(t *topic, at, kind string, data func(*bufio.Writer)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ""
	if at != "" {
		t.at = at
		id = idOf(s.all)
	}
	return s.out.EventOf(kind, id, data)
}

// stands moves a topic without an event.
func (s *sender) stands(t *topic, at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.at = at
}
