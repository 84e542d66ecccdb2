package attempt

import (
	"context"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// Ends tells attempts how their runs ended. One watch on all records does so: one
// for each run would cost three requests, more than many a task. The records of
// others' runs are passed over without being read.
type Ends struct {
	mu      sync.Mutex
	waiting map[string]chan *pb.Run
}

// NewEnds makes one; Follow fills it.
func NewEnds() *Ends { return &Ends{waiting: map[string]chan *pb.Run{}} }

// Follow passes on what is written until ctx ends; began is called when nothing
// can be missed any more.
func (e *Ends) Follow(ctx context.Context, s *store.Store, began func()) error {
	return s.Follow(ctx, began, e.saw)
}

func (e *Ends) saw(id string, read func() (*pb.Run, error)) {
	e.mu.Lock()
	ended := e.waiting[id]
	e.mu.Unlock()
	if ended == nil {
		return
	}
	var run *pb.Run // removed, or nobody can read it: whoever waits looks himself
	if read != nil {
		var err error
		if run, err = read(); err == nil && !store.Final(run.GetState()) {
			return
		}
	}
	select {
	case ended <- run:
	default: // it has one already
	}
}

// expect begins to wait for the end of a run: before it is asked for, so that its
// end can't be missed.
func (e *Ends) expect(id string) (ended <-chan *pb.Run, forget func()) {
	c := make(chan *pb.Run, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting[id] = c
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.waiting[id] == c {
			delete(e.waiting, id)
		}
	}
}
