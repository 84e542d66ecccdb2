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
}

func newLifetime() *lifetime {
	l := &lifetime{}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l
}

// onClose has f called at the end, before what was said earlier.
func (l *lifetime) onClose(f func()) { l.undo = append(l.undo, f) }

// end is the end, once, with its cause.
func (l *lifetime) end(cause error) {
	l.once.Do(func() {
		l.cancel(cause)
		for i := len(l.undo) - 1; i >= 0; i-- {
			l.undo[i]()
		}
	})
}

// withoutDeadline is a context that ends with ctx and doesn't tell when.
func withoutDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	bare, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return bare, func() { stop(); cancel(nil) }
}
