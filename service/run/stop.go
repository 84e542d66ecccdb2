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
	go func() { r.jobs.Wait(); close(done) }()
	jobs := r.live()
	go func(jobs []*job) {
		defer close(over)
		for _, j := range jobs {
			select {
			case <-j.over:
			case <-j.done:
			case <-done:
				return
			}
		}
	}(jobs)
	select {
	case <-done:
		return
	case <-over:
	case <-ctx.Done():
		jobs = r.endAll(causeAborted)
		for _, j := range jobs {
			j.end(causeAborted)
		}
	}
	for _, j := range jobs {
		select {
		case <-j.claimed:
		default:
			continue // it has no process, and gets none any more
		}
		select {
		case <-j.over:
		case <-j.done:
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
	for _, j := range r.endAll(causeAborted) {
		j.end(causeAborted)
		j.kill()
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
	for _, j := range r.endAll(causeStopped) {
		j.kill()
	}
	if r.cfg.JS.Conn().IsConnected() {
		timer := time.AfterFunc(closeTimeout, func() { r.stop(errStopped) })
		defer timer.Stop()
	} else {
		r.stop(errStopped)
	}
	r.jobs.Wait()
	r.stop(errStopped)
}

// endAll returns the jobs that are to be ended, and lets the claims under way
// end their own.
func (r *Runner) endAll(c *cause) []*job {
	r.mu.Lock()
	r.ending = c
	r.mu.Unlock()
	return r.live()
}

func (r *Runner) live() []*job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.byID))
}
