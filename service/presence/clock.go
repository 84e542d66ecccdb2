package presence

import (
	"context"
	"time"
)

// measureClock compares this clock with the NATS server's, half the way there
// taken off. How far off that may be is the other half: a measurement that took
// much longer than the best of late says nothing new.
func (p *Presence) measureClock(ctx context.Context) {
	sent := time.Now()
	theirs, err := p.store.ServerTime(ctx)
	if err != nil {
		return
	}
	travel := time.Since(sent)
	offset := float64(theirs.Sub(sent.Add(travel/2))) / float64(time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clockOffset != nil && travel > 2*p.clockTravel {
		p.clockTravel += p.clockTravel/4 + time.Microsecond // it grows old
		return
	}
	p.clockOffset, p.clockTravel = &offset, travel
}
