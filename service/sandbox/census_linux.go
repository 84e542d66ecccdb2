package sandbox

import "sync"

// census is one scan of /proc, shared by all who asked for one before it began: many runs that end at once cost one scan, not one each.
type census struct {
	procs []proc
	mu    sync.Mutex
	marks map[int]string // by pid; empty means no marker
}

// taker takes one census at a time.
type taker struct {
	mu      sync.Mutex // guards waiting
	waiting *flight
	scan    sync.Mutex // held by whoever scans
}

type flight struct {
	done   chan struct{}
	census *census
	err    error
}

// take returns a census that was begun after it was asked for.
func (t *taker) take() (*census, error) {
	t.mu.Lock()
	first := t.waiting == nil
	if first {
		t.waiting = &flight{done: make(chan struct{})}
	}
	f := t.waiting
	t.mu.Unlock()
	if !first {
		<-f.done
		return f.census, f.err
	}
	t.scan.Lock()
	defer t.scan.Unlock()
	t.mu.Lock()
	t.waiting = nil // who comes from here on may have started something that this scan misses
	t.mu.Unlock()
	procs, err := allProcs()
	f.census, f.err = &census{procs: procs, marks: map[int]string{}}, err
	close(f.done)
	return f.census, f.err
}

// mark is the value of a process's marker, or empty.
func (c *census) mark(one proc) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	mark, known := c.marks[one.pid]
	if !known {
		mark = marks.of(one)
		c.marks[one.pid] = mark
	}
	return mark
}
