package run

// Admit takes a place for a request that has just come, or says why there is
// none. It must be given to Go, or back. forced takes one even if all are full.
func (r *Runner) Admit(forced bool) (*Ticket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, ErrDraining
	}
	t := r.places.take(forced)
	if t == nil {
		return nil, ErrFull
	}
	r.coming[t] = make(chan struct{})
	r.lives.Add(1)
	r.cfg.OnPlaces()
	return &Ticket{r: r, t: t}, nil
}

// AdmitFree is Admit for what can wait elsewhere: nil if there is no free slot.
func (r *Runner) AdmitFree() *Ticket {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining || !r.places.free() {
		return nil
	}
	t := r.places.take(false)
	r.coming[t] = make(chan struct{})
	r.lives.Add(1)
	r.cfg.OnPlaces()
	return &Ticket{r: r, t: t}
}

// AdmitLater is Admit for a submission that waits for its Turn: it takes its place
// after that, and until then none.
func (r *Runner) AdmitLater() (*Ticket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, ErrDraining
	}
	r.lives.Add(1)
	return &Ticket{r: r, t: &ticket{granted: make(chan struct{})}}, nil
}

// enter takes the place of a ticket that came by AdmitLater.
func (r *Runner) enter(t *ticket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places.enter(t)
	r.cfg.OnPlaces()
}

// hasCome says that a place has its run, or gets none. Callers hold mu.
func (r *Runner) hasCome(t *ticket) {
	if coming := r.coming[t]; coming != nil {
		close(coming)
		delete(r.coming, t)
	}
}

// Ticket is a place that was taken.
type Ticket struct {
	r *Runner
	t *ticket
}

// Return gives the place to the next.
func (t *Ticket) Return() {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.t.returned {
		return
	}
	t.r.hasCome(t.t)
	t.r.places.giveBack(t.t)
	t.r.cfg.OnPlaces()
	t.r.lives.Done()
}

// Load says how many runs there are now.
type Load struct {
	Slots, Backlog, Running, Pending int
	// Free: a run that came now would start now.
	Free bool
	// Draining: no run is taken any more.
	Draining bool
}

// Load returns the numbers for the card.
func (r *Runner) Load() Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Load{
		Slots: r.places.slots, Backlog: r.places.backlog,
		Running: r.places.running, Pending: len(r.places.waiting),
		Free: r.places.free() && !r.draining, Draining: r.draining,
	}
}

// numbers fills in the defaults of Config.
func numbers(slots, backlog int) (int, int) {
	if slots <= 0 {
		slots = DefaultSlots
	}
	switch {
	case backlog == 0:
		backlog = DefaultBacklog
	case backlog < 0:
		backlog = 0
	}
	return slots, backlog
}

// Resize changes the number of places, as Config has it; what runs goes on.
func (r *Runner) Resize(slots, backlog int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places.resize(numbers(slots, backlog))
	r.cfg.OnPlaces()
}
