package run

import (
	"context"
	"maps"
	"slices"
	"time"
)

// When the time to end has come, a run has lastGrace of its own left, and all of
// it (processes, logs, records) has closeTimeout: what NATS has not taken by then
// stays in the spool for the next life.
const (
	lastGrace    = 500 * time.Millisecond
	closeTimeout = 1700 * time.Millisecond
)

// Drain takes no new runs and waits for those there are, waiting ones included,
// until ctx ends, which cuts short any grace; then it aborts them. It does not
// wait for a NATS that takes nothing: how those ended whose processes are gone,
// Close leaves to the next life.
func (r *Runner) Drain(ctx context.Context) {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.cfg.OnPlaces()
	done := make(chan struct{})
	go func() { r.lives.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-allOver(r.live(), done):
	case <-r.killed:
	case <-ctx.Done():
		for _, a := range r.endAll(causeAborted) {
			a.hasten(causeAborted, lastGrace)
		}
	}
	r.mu.Lock()
	r.setLast()
	last := r.last
	r.mu.Unlock()
	timer := time.NewTimer(time.Until(last))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// allOver is closed when no process of these runs is left, or done is.
func allOver(runs []*active, done <-chan struct{}) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, a := range runs {
			select {
			case <-a.over:
			case <-a.done:
			case <-done:
				return
			}
		}
	}()
	return over
}

// setLast sets the moment at which the runner is to be at its end, once. Callers
// hold mu.
func (r *Runner) setLast() {
	if r.last.IsZero() {
		r.last = time.Now().Add(closeTimeout)
	}
}

// Kill ends what runs without any grace.
func (r *Runner) Kill() {
	for _, a := range r.endAll(causeAborted) {
		a.end(causeAborted)
		a.kill()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setLast()
	select {
	case <-r.killed:
	default:
		close(r.killed)
	}
}

// Close ends at once: processes are killed and their runs aborted. It waits for
// NATS until the last moment, and no longer for what hangs in the kernel.
func (r *Runner) Close() {
	r.mu.Lock()
	r.draining = true
	r.setLast()
	last := r.last
	r.mu.Unlock()
	for _, a := range r.endAll(causeStopped) {
		a.kill()
	}
	if r.cfg.JS.Conn().IsConnected() {
		timer := time.AfterFunc(time.Until(last), func() { r.stop(errStopped) })
		defer timer.Stop()
	} else {
		r.stop(errStopped)
	}
	done := make(chan struct{})
	go func() { r.lives.Wait(); close(done) }()
	timer := time.NewTimer(max(time.Until(last), 0) + hangTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		r.log.Error("some runs do not end: they are left to the next start")
	}
	r.stop(errStopped)
}

// hangTimeout is what is left after the last moment for lives that have to be
// told of it.
const hangTimeout = 150 * time.Millisecond

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
