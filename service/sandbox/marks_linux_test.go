package sandbox_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel/service/sandbox"
)

// noSuch are numbers that no process has: their account is that of all of them.
const noSuch = 1 << 23

// A process whose environment can't be read, because it lies on a mount that hangs, is waited for
// once: it must not keep a runner from its start, nor from the ends of runs.
func TestMarkerOfAProcessThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, looks := make(chan struct{}), atomic.Int32{}
		mark := sandbox.NewMarks(func(pid int) string {
			if pid != noSuch {
				return "mine"
			}
			looks.Add(1)
			<-hang
			return "late"
		})
		began := time.Now()
		if got := mark(noSuch); got != "" || time.Since(began) > 5*time.Second {
			t.Errorf("got %q after %s", got, time.Since(began))
		}
		began = time.Now()
		for range 100 {
			if got := mark(noSuch); got != "" {
				t.Errorf("got %q", got)
			}
		}
		if took := time.Since(began); took > 0 || looks.Load() != 1 {
			t.Errorf("the next hundred took %s, and it was looked at %d times", took, looks.Load())
		}
		if got := mark(noSuch + 1); got != "mine" {
			t.Errorf("of another process: %q", got)
		}
		close(hang)
		synctest.Wait()
		if got := mark(noSuch); got != "late" {
			t.Errorf("once it can be read: %q", got)
		}
	})
}

// Many who end at once share the wait.
func TestMarkerIsReadOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, looks := make(chan struct{}), atomic.Int32{}
		mark := sandbox.NewMarks(func(int) string {
			looks.Add(1)
			<-hang
			return "late"
		})
		began := time.Now()
		for range 50 {
			go mark(noSuch)
			time.Sleep(60 * time.Millisecond)
		}
		synctest.Wait()
		if looks.Load() != 1 || time.Since(began) > 10*time.Second {
			t.Errorf("it was looked at %d times", looks.Load())
		}
		close(hang)
	})
}

// One account's processes take so many threads and no more.
func TestMarkersThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, looks := make(chan struct{}), atomic.Int32{}
		mark := sandbox.NewMarks(func(int) string {
			looks.Add(1)
			<-hang
			return ""
		})
		for i := range 20 {
			mark(noSuch + i)
		}
		if looks.Load() != sandbox.MaxHanging {
			t.Errorf("%d reads hang, want %d", looks.Load(), sandbox.MaxHanging)
		}
		close(hang)
	})
}
