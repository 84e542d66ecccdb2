package serve

import (
	"sync"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/service"
)

// endPatience is how long the end of a server waits for what reads files: those may
// be on a mount that hangs.
const endPatience = time.Second

// reloads has the configuration read again, one time after the other.
type reloads struct {
	mu          sync.Mutex
	busy, again bool
	over        bool // nothing is changed any more
	work        sync.WaitGroup
}

// reload reads flags, environment and file again, and gives the runners what
// can change while they run. A mistake changes nothing. It doesn't wait: whoever
// hears signals must hear the next one, however long the file takes.
func (s *command) reload() {
	r := &s.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again = r.busy; r.busy || r.over {
		return
	}
	r.busy = true
	r.work.Go(func() {
		for next := true; next; next = r.next() {
			s.reloadOnce()
		}
	})
}

// next says whether somebody has asked meanwhile.
func (r *reloads) next() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = r.again && !r.over
	r.again = false
	return r.busy
}

// end has nothing changed any more.
func (r *reloads) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

func (s *command) reloadOnce() {
	notify("RELOADING=1")
	defer notify("READY=1")
	var cfg service.Config
	fresh := app.New(s.Stdio)
	fresh.Configured = func(c service.Config) { cfg = c }
	err := s.Again(fresh)
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	switch {
	case s.reloads.over:
		return
	case err != nil:
		s.Log.Error("cannot reload", "error", err)
		return
	}
	for _, r := range s.runners {
		if err := r.Service.Reload(cfg.Settings); err != nil {
			s.Log.Error("cannot reload", "runner", r.Name, "error", err)
		}
	}
	s.pipelines.again()
}

// await waits until all have ended, but not for long.
func await(work *sync.WaitGroup, patience time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work.Wait()
	}()
	select {
	case <-done:
	case <-time.After(patience):
	}
}
