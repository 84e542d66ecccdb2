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
	// surplusBytes above what it had after the last time is worth a collection,
	// whatever goes on.
	surplusBytes = 64 << 20
	// idleSurplusBytes is that of a process that has allocated no more than
	// idleBytes since the last look: a collection then costs nobody anything.
	idleSurplusBytes, idleBytes = 2 << 20, 4 << 20
	surplusInterval             = 5 * time.Second
	// surplusRounds: what is in use still, in the first one, is not in the last.
	surplusRounds = 3
)

// GiveBack returns to the system what is not in use any more: what a start, or
// many runs, have left, and what a flood of output has. The NATS server built in
// keeps what was written in the last ten seconds, and Go would give memory back
// within minutes, or never where little goes on. It returns when ctx ends.
func GiveBack(ctx context.Context) {
	tick := time.NewTicker(surplusInterval)
	defer tick.Stop()
	giveBack(ctx, tick.C)
}

func giveBack(ctx context.Context, tick <-chan time.Time) {
	var after, allocated uint64 // after the last time; until the last look
	rounds := 0
	for {
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
		heap, now := heapBytes(), allocatedBytes()
		isIdle := now-allocated < idleBytes
		allocated = now
		switch {
		case heap > after+surplusBytes && after > 0:
			rounds = surplusRounds
		case isIdle && heap > after+idleSurplusBytes:
			rounds = max(rounds, 1)
		}
		if rounds > 0 {
			rounds--
			debug.FreeOSMemory()
			after = heapBytes()
		}
	}
}

// allocatedBytes is what was ever allocated.
func allocatedBytes() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
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
