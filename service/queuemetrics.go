package service

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a look at the metrics may ask NATS.
const scrapeTimeout = 2 * time.Second

// queueMetrics tell of the queue of a runner's pools: the depth and age are the
// fleet's, what was done is the runner's own. A queue that nobody has used is not
// told of.
type queueMetrics struct {
	s                    *Service
	depth, running, age  *prometheus.Desc
	taken, done, retried *prometheus.Desc
	conflicts, rejected  *prometheus.Desc
}

func (s *Service) newQueueMetrics() *queueMetrics {
	labels := prometheus.Labels{"runner": s.cfg.Name}
	lane := []string{"pool", "priority"}
	desc := func(name, help string, variable []string) *prometheus.Desc {
		return prometheus.NewDesc("runnel_queue_"+name, help, variable, labels)
	}
	return &queueMetrics{
		s:         s,
		depth:     desc("depth", "Work that waits in the queue, in the whole fleet.", lane),
		running:   desc("running", "Work of the queue that runs, in the whole fleet.", lane),
		age:       desc("oldest_seconds", "How long the oldest work has waited, in the whole fleet.", lane),
		taken:     desc("taken_total", "Messages of the queue that came to this runner.", nil),
		done:      desc("done_total", "Work of the queue that ended here.", nil),
		retried:   desc("retried_total", "Attempts that ended here and are followed by another.", nil),
		conflicts: desc("conflicts_total", "Work that was dropped here, since another request had its id.", nil),
		rejected:  desc("rejected_total", "Work that was recorded as rejected or expired here.", nil),
	}
}

// Describe is prometheus.Collector's.
func (m *queueMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.depth, m.running, m.age, m.taken, m.done, m.retried, m.conflicts, m.rejected} {
		to <- d
	}
}

// Collect is prometheus.Collector's. It asks NATS where there is a queue.
func (m *queueMetrics) Collect(to chan<- prometheus.Metric) {
	q := m.s.waiting.queue
	if q == nil {
		return
	}
	for _, c := range []struct {
		desc *prometheus.Desc
		n    *atomic.Int64
	}{{m.taken, &q.Counts.Taken}, {m.done, &q.Counts.Done}, {m.retried, &q.Counts.Retried}, {m.conflicts, &q.Counts.Conflicts}, {m.rejected, &q.Counts.Rejected}} {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.n.Load()))
	}
	ctx, cancel := context.WithTimeout(m.s.life.ctx, scrapeTimeout)
	defer cancel()
	lines, err := m.s.waiting.work.Lines(ctx)
	if err != nil {
		return // there is none, or nobody can tell now
	}
	for _, l := range lines {
		if !slices.Contains(m.s.cfg.Pools, l.Pool) {
			continue
		}
		gauge := func(desc *prometheus.Desc, value float64) {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, l.Pool, l.Priority)
		}
		gauge(m.depth, float64(l.Waiting))
		gauge(m.running, float64(l.Running))
		gauge(m.age, l.OldestSeconds)
	}
}
