package service

import (
	"context"
	"sync"
)

// lifetime is from the start of a service to its end, with what must be undone
// then.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	undo   []func()
	once   sync.Once
	tasks  sync.WaitGroup // end before what is undone

	lost chan struct{} // closed by fail
	done chan struct{} // closed when all that follows from it is done
	mu   sync.Mutex
	err  error
}

func newLifetime() *lifetime {
	l := &lifetime{lost: make(chan struct{}), done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l
}

// onClose has f called at the end, before what was said earlier.
func (l *lifetime) onClose(f func()) { l.undo = append(l.undo, f) }

// end is the end, once, with its cause.
func (l *lifetime) end(cause error) {
	l.once.Do(func() {
		l.cancel(cause)
		l.tasks.Wait()
		for i := len(l.undo) - 1; i >= 0; i-- {
			l.undo[i]()
		}
	})
}

// fail says, once, why the service can't go on. It never blocks.
func (l *lifetime) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.lost)
	}
}

func (l *lifetime) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// withoutDeadline is a context that ends with ctx and doesn't tell when.
func withoutDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	bare, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return bare, func() { stop(); cancel(nil) }
}
