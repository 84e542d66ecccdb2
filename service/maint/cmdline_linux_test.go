package maint

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A process that calls itself chronyd, and whose command line never comes, must not
// hold up who asks for the clock: it is taken for what it says it is.
func TestCommandLineThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, looks := make(chan struct{}), atomic.Int32{}
		lines := lateReads{read: func(string) (string, error) {
			looks.Add(1)
			<-hang
			return "chronyd", nil
		}}
		began := time.Now()
		for range 10 {
			if line, known := lines.of("7"); known {
				t.Errorf("got %q", line)
			}
		}
		if took := time.Since(began); took > time.Second || looks.Load() != 1 {
			t.Errorf("it took %s and %d looks", took, looks.Load())
		}
		close(hang)
		synctest.Wait()
		if line, known := lines.of("7"); !known || line != "chronyd" {
			t.Errorf("once it comes: %q, %v", line, known)
		}
	})
}
