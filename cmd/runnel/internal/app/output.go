package app

import (
	"errors"
	"io"
	"sync"
	"syscall"
)

// output is standard output that remembers the first error of a write: what a
// command prints in passing counts, too.
type output struct {
	io.Writer

	mu    sync.Mutex
	first error
}

func (o *output) Write(text []byte) (int, error) {
	n, err := o.Writer.Write(text)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.first == nil {
			o.first = err
		}
	}
	return n, err
}

// Unwrap gives what is written to, for those who want to know whether it is a
// terminal.
func (o *output) Unwrap() io.Writer { return o.Writer }

// Printed says whether everything was printed that was to be. A reader that has
// had enough is no error.
func (a *App) Printed() error {
	o, ok := a.Out.(*output)
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.Is(o.first, syscall.EPIPE) {
		return nil
	}
	return o.first
}
