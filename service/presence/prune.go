package presence

import "time"

// pruneEvery is how many cards go to one look at the number of records.
const pruneEvery = 6

// keepPruned removes the final runs that are more than are to be kept. Those
// that are too old the server forgets by itself.
func (p *Presence) keepPruned() {
	if p.cfg.KeepCount == 0 {
		return
	}
	ticker := time.NewTicker(pruneEvery * p.cfg.CardInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-p.ctx.Done():
			return
		}
		removed, err := p.store.Prune(p.ctx)
		if len(removed) > 0 {
			p.log.Info("removed the oldest runs", "runner", p.cfg.Name, "runs", len(removed))
		}
		if err != nil && p.ctx.Err() == nil {
			p.log.Warn("cannot remove old runs, trying again later", "error", err)
		}
	}
}
