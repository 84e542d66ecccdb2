package service

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/pb"
)

// metrics are a runner's own, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry
	runs     *prometheus.CounterVec
	duration prometheus.Histogram
	lines    prometheus.Counter
	bytes    prometheus.Counter
	dropped  prometheus.Counter
}

func (s *Service) newMetrics() *metrics {
	labels := prometheus.Labels{"runner": s.cfg.Name}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "runnel_runs_total", Help: "Runs that ended, by state and reason.", ConstLabels: labels,
		}, []string{"state", "reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "runnel_run_duration_seconds", Help: "From the leaving of PENDING to the end.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12),
		}),
		lines:   prometheus.NewCounter(prometheus.CounterOpts{Name: "runnel_log_lines_total", Help: "Lines of output stored.", ConstLabels: labels}),
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "runnel_log_bytes_total", Help: "Bytes of output stored.", ConstLabels: labels}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "runnel_log_dropped_bytes_total", Help: "Bytes of output dropped.", ConstLabels: labels}),
	}
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	gauge("runnel_slots", "Runs at a time.", func() float64 { return float64(s.runner.Load().Slots) })
	gauge("runnel_running", "Runs now.", func() float64 { return float64(s.runner.Load().Running) })
	gauge("runnel_backlog", "Runs that may wait.", func() float64 { return float64(s.runner.Load().Backlog) })
	gauge("runnel_pending", "Runs waiting now.", func() float64 { return float64(s.runner.Load().Pending) })
	gauge("runnel_spool_bytes", "Output on disk that NATS has not taken yet.", func() float64 { return float64(s.runner.SpoolBytes()) })
	gauge("runnel_ready", "1 if the runner takes runs.", func() float64 {
		if s.Health().State == StateReady {
			return 1
		}
		return 0
	})
	gauge("runnel_goroutines", "Goroutines of the process.", func() float64 { return float64(runtime.NumGoroutine()) })
	gauge("runnel_nats_reconnects", "Reconnects of the connection that logs go over.", func() float64 { return float64(s.conns.js.Conn().Stats().Reconnects) })
	m.registry.MustRegister(m.runs, m.duration, m.lines, m.bytes, m.dropped)
	return m
}

// ended counts a run that became final here.
func (m *metrics) ended(run *pb.Run) {
	m.runs.WithLabelValues(run.GetState().String(), run.GetReason()).Inc()
	if run.GetStarted() != nil && run.GetEnded() != nil {
		m.duration.Observe(max(0, run.GetEnded().AsTime().Sub(run.GetStarted().AsTime()).Seconds()))
	}
	m.lines.Add(float64(run.GetLines()))
	m.bytes.Add(float64(run.GetBytes()))
	m.dropped.Add(float64(run.GetDroppedBytes()))
}
