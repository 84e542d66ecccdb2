package main

import "runtime"

// spareHeapBytes: the collector runs whenever the heap has doubled. With the
// few megabytes that a runner keeps, that is a hundred times a second on a busy
// one, and a tenth of its time. This much is added to what it doubles.
const spareHeapBytes = 6 << 20

// spareHeap makes a command that lives long collect less often, until release
// is called. The memory is never touched, so it is no part of the process's
// size; and unlike GOGC, it matters less the more the process keeps.
func spareHeap() (release func()) {
	spare := make([]byte, spareHeapBytes)
	return func() { runtime.KeepAlive(spare) }
}
