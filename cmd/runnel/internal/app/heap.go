package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// spareHeapBytes: the collector runs whenever the heap has doubled. With the
// few megabytes that a runner keeps, that is a hundred times a second on a busy
// one, and a tenth of its time. This much is added to what it doubles.
const spareHeapBytes = 6 << 20

// SpareHeap makes a command that lives long collect less often, until release
// is called. The memory is never touched, so it is no part of the process's
// size; and unlike GOGC, it matters less the more the process keeps.
func SpareHeap() (release func()) {
	spare := make([]byte, spareHeapBytes)
	return func() { runtime.KeepAlive(spare) }
}

const (
	// surplusBytes above what it had after the last time is worth a collection.
	surplusBytes    = 64 << 20
	surplusInterval = 10 * time.Second
	// surplusRounds: what is in use still, in the first one, is not in the last.
	surplusRounds = 3
)

// GiveBack returns to the system what a flood of output has left: the NATS server
// built in keeps what was written in the last ten seconds, and Go would give it
// back within minutes. It returns when ctx ends.
func GiveBack(ctx context.Context) {
	tick := time.NewTicker(surplusInterval)
	defer tick.Stop()
	after, rounds := heapBytes(), 0
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if heapBytes() > after+surplusBytes {
			rounds = surplusRounds
		}
		if rounds > 0 {
			rounds--
			debug.FreeOSMemory()
			after = heapBytes()
		}
	}
}

// heapBytes is the memory that the heap has of the system.
func heapBytes() (sum uint64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	for _, sample := range samples {
		sum += sample.Value.Uint64()
	}
	return sum
}
