package service

import "time"

// pruneEvery is how many cards go to one look at the number of records.
const pruneEvery = 6

// keepPruned removes the final runs that are more than are to be kept. Those
// that are too old the server forgets by itself.
func (s *Service) keepPruned() {
	if s.cfg.KeepCount == 0 {
		return
	}
	ticker := time.NewTicker(pruneEvery * s.cfg.CardInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		removed, err := s.store.Prune(s.ctx)
		if len(removed) > 0 {
			s.log.Info("removed the oldest runs", "runner", s.cfg.Name, "runs", len(removed))
		}
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("cannot remove old runs, trying again later", "error", err)
		}
	}
}
