package main

import (
	"context"
)

// serveRunners is where the runners are started: service.Start(ctx, nc, s.cfg)
// with nc of connectRunner.
func (s *serveCommand) serveRunners(ctx context.Context) error {
	nc, err := s.connectRunner(s.name)
	if err != nil {
		return err
	}
	defer nc.Close()
	s.leaveContexts()
	signals, stop := endSignals()
	defer stop()
	select {
	case <-ctx.Done():
	case <-signals:
	}
	return nil
}
