package presence

// Health is how a runner is doing, in one of the card's states.
type Health struct {
	Runner string `json:"runner"`
	State  string `json:"state"`
	Error  string `json:"error,omitempty"`
}

// Health tells the state of the runner now. It is left again when its cause is.
func (p *Presence) Health() Health {
	h := Health{Runner: p.cfg.Name, State: StateReady}
	p.mu.Lock()
	ready, unhealthy := p.ready, p.unhealthy
	p.mu.Unlock()
	trouble, cut := p.trouble(), p.cfg.Connected()
	switch {
	case !ready:
		h.State = StateInitialising
	case p.load().Draining:
		h.State = StateDraining
	case cut != nil:
		h.State, h.Error = StateUnhealthy, oneLine(cut)
	case unhealthy != "":
		h.State, h.Error = StateUnhealthy, unhealthy
	case trouble != nil:
		h.State, h.Error = StateUnhealthy, oneLine(trouble)
	}
	return h
}

// judge takes note of whether the last write to NATS went well.
func (p *Presence) judge(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.unhealthy
	p.unhealthy = ""
	if err != nil {
		p.unhealthy = oneLine(err)
	}
	switch {
	case was == "" && err != nil:
		p.log.Warn("runner is unhealthy", "runner", p.cfg.Name, "error", err)
	case was != "" && err == nil:
		p.log.Info("runner is healthy again", "runner", p.cfg.Name)
	}
}
