package service

import (
	"github.com/runnel-io/runnel/service/queue"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/schedule/fires"
	"github.com/runnel-io/runnel/service/work"
)

// waiting is what brings runs without a request: the durable queue, and schedules.
type waiting struct {
	work  *work.Queue
	queue *queue.Queue
	fires *fires.Fires
	// schedules are the fleet's.
	schedules *schedule.Store
}

// openQueue makes what takes work of the durable queue, once there is one. It must
// come before the runner's own end is noted, so that it ends after that.
func (s *Service) openQueue() {
	s.waiting.work = work.New(work.Config{JS: s.conns.js, Space: s.space, Store: s.store, Replicas: s.cfg.Replicas, AckWait: s.cfg.QueueAckWait})
	s.waiting.queue = queue.New(queue.Config{
		Name: s.cfg.Name, Pools: s.cfg.Pools, Space: s.space, JS: s.conns.js, Store: s.store, Runner: s.runner, Logger: s.log,
		Work:     s.waiting.work,
		Policy:   s.runPolicy,
		MarkLost: s.presence.MarkLost,
	})
	s.metrics.registry.MustRegister(s.newQueueMetrics())
	s.life.onClose(s.waiting.queue.Wait)
}

// takeWork takes work of the queue for as long as the service lives.
func (s *Service) takeWork() { s.waiting.queue.Run(s.life.ctx) }

// Queue counts what this runner has done with work of the queue.
func (s *Service) Queue() *queue.Counts { return &s.waiting.queue.Counts }
