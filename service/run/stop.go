package run

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Drain takes no new runs and waits for those there are, waiting ones included,
// until ctx ends; then it aborts them. It does not wait for a NATS that takes
// nothing: how those ended whose processes are gone, Close leaves to the next life.
func (r *Runner) Drain(ctx context.Context) {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.cfg.OnPlaces()
	done, over := make(chan struct{}), make(chan struct{})
	go func() { r.lives.Wait(); close(done) }()
	runs := r.live()
	go func(runs []*active) {
		defer close(over)
		for _, a := range runs {
			select {
			case <-a.over:
			case <-a.done:
			case <-done:
				return
			}
		}
	}(runs)
	select {
	case <-done:
		return
	case <-over:
	case <-ctx.Done():
		runs = r.endAll(causeAborted)
		for _, a := range runs {
			a.end(causeAborted)
		}
	}
	for _, a := range runs {
		select {
		case <-a.claimed:
		default:
			continue // it has no process, and gets none any more
		}
		select {
		case <-a.over:
		case <-a.done:
		}
	}
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// Kill ends what runs without any grace.
func (r *Runner) Kill() {
	for _, a := range r.endAll(causeAborted) {
		a.end(causeAborted)
		a.kill()
	}
}

// closeTimeout is how long NATS has to take the ends of runs whose processes are
// gone, when the runner ends.
const closeTimeout = 2 * time.Second

// Close ends at once: processes are killed and their runs aborted. What NATS
// has not taken after two seconds stays in the spool for the next life.
func (r *Runner) Close() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	for _, a := range r.endAll(causeStopped) {
		a.kill()
	}
	if r.cfg.JS.Conn().IsConnected() {
		timer := time.AfterFunc(closeTimeout, func() { r.stop(errStopped) })
		defer timer.Stop()
	} else {
		r.stop(errStopped)
	}
	r.lives.Wait()
	r.stop(errStopped)
}

// endAll returns the runs that are to be ended, and lets the claims under way
// end their own.
func (r *Runner) endAll(c *cause) []*active {
	r.mu.Lock()
	r.ending = c
	r.mu.Unlock()
	return r.live()
}

func (r *Runner) live() []*active {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.byID))
}
