package run

import "slices"

// places says who may run now and who waits: slots runs at a time, backlog
// more in line, first in first out. It knows nothing of runs; Runner's mutex
// guards it.
type places struct {
	slots, backlog int
	running        int
	waiting        []*ticket
}

// A ticket is one place, in a slot once granted is closed, in the line until then.
type ticket struct {
	granted  chan struct{}
	inSlot   bool
	returned bool
}

// take gives a place, or nil where both slots and line are full. What had
// already been on its way when the runner left the any groups is forced in.
func (p *places) take(forced bool) *ticket {
	if !forced && !p.free() && len(p.waiting) >= p.backlog {
		return nil
	}
	t := &ticket{granted: make(chan struct{})}
	p.enter(t)
	return t
}

// enter puts a ticket that has no place yet into a slot, or at the end of the line.
func (p *places) enter(t *ticket) {
	if t.returned {
		return
	}
	if p.free() {
		p.grant(t)
	} else {
		p.waiting = append(p.waiting, t)
	}
}

// giveBack ends a ticket's place, once; the first in line moves up.
func (p *places) giveBack(t *ticket) {
	if t.returned {
		return
	}
	t.returned = true
	if !t.inSlot {
		p.waiting = slices.DeleteFunc(p.waiting, func(w *ticket) bool { return w == t })
		return
	}
	p.running--
	p.fill()
}

// resize changes the numbers; runs that have a slot keep it.
func (p *places) resize(slots, backlog int) {
	p.slots, p.backlog = slots, backlog
	p.fill()
}

func (p *places) fill() {
	for p.running < p.slots && len(p.waiting) > 0 {
		next := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.grant(next)
	}
}

func (p *places) grant(t *ticket) {
	p.running++
	t.inSlot = true
	close(t.granted)
}

// free says whether a run that came now would start now.
func (p *places) free() bool { return p.running < p.slots && len(p.waiting) == 0 }
