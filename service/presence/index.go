package presence

import "time"

// restAfterError is for an index that may not be written.
const restAfterError = time.Minute

// rest waits, and says whether there is more to do after that.
func (p *Presence) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// keepIndexed has the index of runs cover what has come, so that lists are quick
// on whichever runner is asked. One of those that try does the work.
func (p *Presence) keepIndexed() {
	ticker := time.NewTicker(p.cfg.CardInterval)
	defer ticker.Stop()
	said := false
	for {
		err := p.store.KeepIndex(p.ctx)
		if p.ctx.Err() != nil {
			return
		}
		if err != nil && !said { // lists are right without it, and slow
			p.log.Warn("lists of runs are slow, trying again", "error", err)
		}
		said = err != nil
		select {
		case <-ticker.C:
		case <-p.store.IndexWanted():
		case <-p.ctx.Done():
		}
		if err != nil && !p.rest(restAfterError) {
			return
		}
	}
}
