package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service/mounts"
)

// DefaultPatience is how long an answer may take where the caller's context
// doesn't say: less than the five seconds after which clients stop waiting.
const DefaultPatience = 4 * time.Second

// Pool has the helpers of one program. Any number of goroutines may use it.
type Pool struct {
	budget *mounts.Budget
	serve  func(request []byte) []byte

	mu     sync.Mutex
	idle   *process // one is kept: a start takes some ten milliseconds
	closed bool
}

// NewPool returns a Pool that starts nothing yet. Serve is what the program's
// main gave to Main; budget is shared with everybody who works on such mounts.
func NewPool(budget *mounts.Budget, serve func(request []byte) []byte) *Pool {
	return &Pool{budget: budget, serve: serve}
}

// SilentError says that a mount didn't answer while the caller waited.
type SilentError struct {
	Mount  mounts.Mount
	Waited time.Duration
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("the mount %s does not answer (waited %v)", e.Mount, e.Waited.Round(100*time.Millisecond))
}

// Code of a SilentError on the wire, as a mounts.HangingError's.
func (e *SilentError) Code() int { return 503 }

// Do has a request served by a helper that works on m. The error is a
// *SilentError when the answer takes longer than ctx, or DefaultPatience, allows,
// and a *mounts.HangingError when too many helpers hang there already.
func (p *Pool) Do(ctx context.Context, m mounts.Mount, request []byte) ([]byte, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, DefaultPatience)
	defer cancel()
	slot, err := p.budget.Enter(ctx, m)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = &SilentError{m, time.Since(began)}
		}
		return nil, err
	}
	if !mainCalled.Load() {
		return p.doHere(ctx, slot, m, request)
	}
	h, err := p.take()
	if err != nil {
		slot.Leave()
		return nil, fmt.Errorf("cannot start a helper for the mount %s: %w", m, err)
	}
	reply, err := h.ask(ctx, request)
	if err == nil {
		p.giveBack(h, slot)
		return reply, nil
	}
	h.giveUp(slot)
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &SilentError{m, time.Since(began)}
	}
	return nil, fmt.Errorf("cannot look at the mount %s: the helper ended: %w", m, err)
}

// doHere is for a program whose main doesn't call Main.
func (p *Pool) doHere(ctx context.Context, slot *mounts.Slot, m mounts.Mount, request []byte) ([]byte, error) {
	began := time.Now()
	done := make(chan []byte, 1)
	go func() {
		defer slot.Leave()
		done <- p.serve(request)
	}()
	select {
	case reply := <-done:
		return reply, nil
	case <-ctx.Done():
		slot.GiveUp()
		return nil, &SilentError{m, time.Since(began)}
	}
}

func (p *Pool) take() (*process, error) {
	p.mu.Lock()
	h := p.idle
	p.idle = nil
	p.mu.Unlock()
	if h != nil && h.isAlive() {
		return h, nil
	}
	if h != nil {
		h.close()
	}
	return start()
}

// giveBack keeps the helper for the next request, or ends it.
func (p *Pool) giveBack(h *process, slot *mounts.Slot) {
	p.mu.Lock()
	keep := p.idle == nil && !p.closed
	if keep {
		p.idle = h
	}
	p.mu.Unlock()
	if keep {
		slot.Leave()
		return
	}
	h.close()
	h.whenEnded(slot.Leave)
}

// Close ends the idle helper; those at work end with their requests. Helpers
// that hang are not waited for.
func (p *Pool) Close() {
	p.mu.Lock()
	h := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	if h != nil {
		h.close()
		<-h.ended
	}
}
