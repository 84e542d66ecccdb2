package waitlist

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// What a queue answers when it takes no more. (prunner's words)
var (
	ErrNoQueue   = errors.New("concurrency exceeded and queueing disabled for pipeline")
	ErrQueueFull = errors.New("concurrency exceeded and queue limit reached for pipeline")
)

// Head is the queue of one pipeline: who runs and who waits, in order. Every
// change of it is one compare-and-set of its record, so that the pipeline's
// limits hold even while two engines believe that they are the one. The methods
// return a changed copy.
type Head struct {
	// Pipeline's name.
	Pipeline string `json:"pipeline"`
	// Running has the ids of the jobs that have left the queue and are not over.
	Running []string `json:"running,omitempty"`
	// Soft are those of them that a newer job may interrupt.
	Soft []string `json:"soft,omitempty"`
	// Waiting jobs, first in first out.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Lease is the revision of the lease under which the head was written.
	Lease uint64 `json:"lease,omitempty"`
}

// Waiting is one job in the queue.
type Waiting struct {
	// Job's id.
	Job string `json:"job"`
	// Partition in which it may be replaced.
	Partition string `json:"partition,omitempty"`
	// NotBefore is the end of its start delay, zero without one.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Soft: every task of the job is interruptible.
	Soft bool `json:"soft,omitempty"`
}

// Accepted says what became of a new job.
type Accepted struct {
	// Start: the job runs at once, and is in Running.
	Start bool
	// Replaced is the waiting job that made room and is to be cancelled, or "".
	Replaced string
}

// Clone copies what the methods change.
func (h Head) Clone() Head {
	h.Running, h.Soft, h.Waiting = slices.Clone(h.Running), slices.Clone(h.Soft), slices.Clone(h.Waiting)
	return h
}

// Accept takes a job in: it starts at once, waits, replaces one that waits, or
// is refused with ErrNoQueue or ErrQueueFull. The job's NotBefore is set from
// the pipeline's start delay.
func (h Head) Accept(p *definition.Pipeline, w Waiting, now time.Time) (Head, Accepted, error) {
	h = h.Clone()
	if p.StartDelay > 0 {
		w.NotBefore = now.Add(time.Duration(p.StartDelay))
	}
	if p.StartDelay == 0 && len(h.Running) < p.Jobs() && h.due(now) < 0 {
		h.start(w)
		return h, Accepted{Start: true}, nil
	}
	if p.QueueLimit != nil && *p.QueueLimit == 0 {
		return h.acceptUnqueued(p, w)
	}
	if !h.full(p, w.Partition) {
		h.Waiting = append(h.Waiting, w)
		return h, Accepted{}, nil
	}
	last := h.lastWaiting(p, w.Partition)
	if last < 0 {
		return h, Accepted{}, ErrQueueFull
	}
	replaced := h.Waiting[last].Job
	h.Waiting[last] = w
	return h, Accepted{Replaced: replaced}, nil
}

// start puts a job among the running.
func (h *Head) start(w Waiting) {
	h.Running = append(h.Running, w.Job)
	if w.Soft {
		h.Soft = append(h.Soft, w.Job)
	}
}

// acceptUnqueued takes a job in where none may wait: only one that interrupts all
// that run, for whose end it waits as well. A newer one takes its place.
func (h Head) acceptUnqueued(p *definition.Pipeline, w Waiting) (Head, Accepted, error) {
	if !p.Interrupt || len(h.Running) == 0 || len(h.Soft) < len(h.Running) {
		return h, Accepted{}, ErrNoQueue
	}
	if len(h.Waiting) < p.Jobs() {
		h.Waiting = append(h.Waiting, w)
		return h, Accepted{}, nil
	}
	last := &h.Waiting[len(h.Waiting)-1]
	if !last.Soft {
		return h, Accepted{}, ErrNoQueue
	}
	replaced := last.Job
	*last = w
	return h, Accepted{Replaced: replaced}, nil
}

// full says whether a job of a partition finds no more room in the queue.
func (h Head) full(p *definition.Pipeline, partition string) bool {
	if p.QueueStrategy == definition.PartitionedReplace {
		waiting := 0
		for _, w := range h.Waiting {
			if w.Partition == partition {
				waiting++
			}
		}
		return p.QueuePartitionLimit != nil && waiting >= int(*p.QueuePartitionLimit)
	}
	return p.QueueLimit != nil && len(h.Waiting) >= int(*p.QueueLimit)
}

// lastWaiting is the place of the job that a new one replaces, or -1.
func (h Head) lastWaiting(p *definition.Pipeline, partition string) int {
	switch p.QueueStrategy {
	case definition.Replace:
		return len(h.Waiting) - 1
	case definition.PartitionedReplace:
		for i := len(h.Waiting) - 1; i >= 0; i-- {
			if h.Waiting[i].Partition == partition {
				return i
			}
		}
	}
	return -1
}

// Schedulable says whether a job without a partition would be taken in.
func (h Head) Schedulable(p *definition.Pipeline, now time.Time) bool {
	_, _, err := h.Accept(p, Waiting{}, now)
	return err == nil
}

// due is the first waiting job whose delay is over, or -1.
func (h Head) due(now time.Time) int {
	return slices.IndexFunc(h.Waiting, func(w Waiting) bool { return !w.NotBefore.After(now) })
}

// Start moves the jobs that may run now from the queue to Running, in order. A
// job whose delay is not over does not hold up those behind it.
func (h Head) Start(p *definition.Pipeline, now time.Time) (Head, []string) {
	h = h.Clone()
	var started []string
	for len(h.Running) < p.Jobs() {
		i := h.due(now)
		if i < 0 {
			break
		}
		started = append(started, h.Waiting[i].Job)
		h.start(h.Waiting[i])
		h.Waiting = slices.Delete(h.Waiting, i, i+1)
	}
	return h, started
}

// NextDue is when the next delay ends, zero if none does.
func (h Head) NextDue(now time.Time) time.Time {
	var next time.Time
	for _, w := range h.Waiting {
		if w.NotBefore.After(now) && (next.IsZero() || w.NotBefore.Before(next)) {
			next = w.NotBefore
		}
	}
	return next
}

// Remove takes a job out, wherever it is; of one that is not there it says so.
func (h Head) Remove(job string) (Head, bool) {
	h = h.Clone()
	before := len(h.Running) + len(h.Waiting)
	h.Running = slices.DeleteFunc(h.Running, func(id string) bool { return id == job })
	h.Soft = slices.DeleteFunc(h.Soft, func(id string) bool { return id == job })
	h.Waiting = slices.DeleteFunc(h.Waiting, func(w Waiting) bool { return w.Job == job })
	return h, len(h.Running)+len(h.Waiting) < before
}

// IsWaiting says whether a job is in the queue, and at which place from 1.
func (h Head) IsWaiting(job string) (place int, waits bool) {
	i := slices.IndexFunc(h.Waiting, func(w Waiting) bool { return w.Job == job })
	return i + 1, i >= 0
}

// Why says in words why the job at a place, from 1, waits; most is how many run
// at a time.
func (h Head) Why(place, most int, now time.Time) string {
	if h.Waiting[place-1].NotBefore.After(now) {
		return "its start delay is not over"
	}
	before := 0
	for _, w := range h.Waiting[:place-1] {
		if !w.NotBefore.After(now) {
			before++
		}
	}
	if before == 0 && len(h.Running) < most {
		return "it is about to start"
	}
	text, turn := "one job runs at a time", "it is the next"
	if most > 1 {
		text = fmt.Sprintf("%d jobs run at a time", most)
	}
	switch {
	case before == 1:
		turn = "one waits before it"
	case before > 1:
		turn = fmt.Sprintf("%d wait before it", before)
	}
	return text + ", and " + turn
}

// Empty says whether nothing runs or waits.
func (h Head) Empty() bool { return len(h.Running) == 0 && len(h.Waiting) == 0 }
