package app

import (
	"context"
	"runtime"
	"testing"
	"time"
)

var kept []byte

// What is not in use any more is given back once the process is idle; while it is
// busy, only what is much.
func TestGiveBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tick, over := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(over)
		giveBack(ctx, tick)
	}()
	defer func() { cancel(); <-over }()
	look := func() { tick <- time.Time{} } // which is taken once the one before was dealt with
	look()
	look()
	look()
	before := heapBytes()
	kept = make([]byte, 32<<20)
	for i := 0; i < len(kept); i += 4096 {
		kept[i] = 1
	}
	runtime.KeepAlive(kept)
	kept = nil
	if now := heapBytes(); now < before+16<<20 {
		t.Skipf("the heap was collected meanwhile: %d bytes, %d before", now, before)
	}
	look() // busy: 32 MiB were allocated
	look() // idle
	look()
	if now := heapBytes(); now > before+8<<20 {
		t.Errorf("the heap has %d bytes, %d before", now, before)
	}
}
