package facts

import (
	"sync"
	"time"
)

const (
	sampleEvery = time.Second
	// shortestLook: over less than this, ticks of 10 ms say nothing.
	shortestLook = 250 * time.Millisecond
)

// cpuSample is a look at the counters of the CPUs.
type cpuSample struct {
	at          time.Time
	milliCPU    int64   // there are, or the cgroup's share
	busy, total float64 // of the host, in any one unit
	// cgroupBusy is the CPU time that the cgroup with the smallest share has
	// used, if isCgroup: then the host's counters don't count.
	isCgroup   bool
	cgroupBusy time.Duration
}

// Sampler looks once a second, in its goroutine, until Close.
type Sampler struct {
	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once

	mu         sync.Mutex
	last, prev cpuSample
	latest     cpuSample // the last one made for an answer
}

// NewSampler starts to look.
func NewSampler() *Sampler {
	s := &Sampler{stop: make(chan struct{}), stopped: make(chan struct{})}
	s.last = sampleCPU()
	go s.run()
	return s
}

func (s *Sampler) run() {
	defer close(s.stopped)
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticks.C:
			now := sampleCPU()
			s.mu.Lock()
			s.prev, s.last = s.last, now
			s.mu.Unlock()
		}
	}
}

// Close ends it and waits for it.
func (s *Sampler) Close() {
	s.once.Do(func() { close(s.stop) })
	<-s.stopped
}

// Busy gives the CPUs and their busy part since the last look, or since the one
// before where that was only just now.
func (s *Sampler) Busy() (milliCPU, busyMilliCPU int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.latest.at) > shortestLook {
		s.latest = sampleCPU()
	}
	from := s.last
	if s.latest.at.Sub(from.at) < shortestLook && !s.prev.at.IsZero() {
		from = s.prev
	}
	return s.latest.milliCPU, busyBetween(from, s.latest)
}

func busyBetween(from, to cpuSample) int64 {
	part := 0.0
	if to.isCgroup && from.isCgroup {
		if wall := to.at.Sub(from.at); wall > 0 {
			part = float64(to.cgroupBusy-from.cgroupBusy) / float64(wall) * 1000
		}
	} else if to.total > from.total {
		part = (to.busy - from.busy) / (to.total - from.total) * float64(to.milliCPU)
	}
	return max(0, min(int64(part), to.milliCPU))
}
