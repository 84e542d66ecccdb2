package endpoint

import "sync"

// Bound is how many requests of one verb a runner is at work on at once, and how
// many more may wait in order of arrival. What comes above that is a 429, at
// once: a queue that is longer than its callers' patience is work for nobody.
type Bound struct{ AtOnce, Queue int }

// DefaultBound is that of a row without one. It leaves the processors to the runs.
var DefaultBound = Bound{AtOnce: 8, Queue: 64}

// maxQueuedBytes bounds the bodies that wait: each may have a megabyte.
const maxQueuedBytes = 8 << 20

// line keeps to a Bound.
type line struct {
	bound Bound

	mu      sync.Mutex
	atWork  int
	bytes   int
	waiting []waiting
}

type waiting struct {
	bytes int
	work  func()
}

// do has work done in another goroutine, now or in its turn, or says that there
// is no room. bytes is what waits with it.
func (l *line) do(bytes int, work func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.atWork < l.bound.AtOnce:
		l.atWork++
		go l.work(work)
	case len(l.waiting) < l.bound.Queue && l.bytes+bytes <= maxQueuedBytes:
		l.bytes += bytes
		l.waiting = append(l.waiting, waiting{bytes, work})
	default:
		return false
	}
	return true
}

func (l *line) work(work func()) {
	for work != nil {
		work()
		work = l.next()
	}
}

// next is the work that has waited longest, nil if there is none.
func (l *line) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.atWork--
		l.waiting = nil
		return nil
	}
	first := l.waiting[0]
	l.waiting[0] = waiting{}
	l.waiting = l.waiting[1:]
	l.bytes -= first.bytes
	return first.work
}
