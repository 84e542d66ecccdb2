package run

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
)

// logConfig is what every log of this runner has in common.
func (r *Runner) logConfig(run *pb.Run) logs.Config {
	return logs.Config{
		JS: r.cfg.JS, Stream: run.GetLogStream(), Subject: run.GetLogSubject(),
		SpoolPath: r.spoolPath(run.GetId()), SpoolMaxBytes: r.cfg.SpoolMaxBytes, Logger: r.log,
		OnTrouble: func(err error) { r.setTrouble(run.GetId(), err) },
	}
}

func (r *Runner) setTrouble(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.troubles, id)
		return
	}
	r.troubles[id] = err
}

// Trouble says why output can't be stored, if NATS has taken none of some run's
// for long. It is over when NATS takes it again, or the run is given up.
func (r *Runner) Trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, err := range r.troubles {
		return fmt.Errorf("cannot store output of run %s: %w", id, err)
	}
	return nil
}

// SpoolBytes is how much output waits on disk for NATS.
func (r *Runner) SpoolBytes() (total int64) {
	entries, err := os.ReadDir(filepath.Dir(r.spoolPath("x")))
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}

func (r *Runner) spoolPath(id string) string {
	return filepath.Join(r.cfg.DataDir, "spool", id)
}
