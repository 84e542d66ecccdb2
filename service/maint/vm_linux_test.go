package maint

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// inVM lets a test go on only where the clock is nobody's: in the machine that
// tests/vm/vm boots, which says so on its kernel's command line.
func inVM(t *testing.T) {
	t.Helper()
	line, _ := os.ReadFile("/proc/cmdline")
	if !strings.Contains(string(line), "runnel-vm") {
		t.Skip("sets the clock for real: run it with tests/vm/run")
	}
}

// vmKeeper keeps the VM's real clock, by a server that is off by so much.
func vmKeeper(t *testing.T, off, maxStep time.Duration) *Keeper {
	t.Helper()
	inVM(t)
	return New(Config{Servers: []string{serveTime(t, off, nil).address}, AllowSet: true, MaxStep: maxStep})
}

// vmSync syncs and tells how far the wall clock moved against the monotonic one.
func vmSync(k *Keeper) (reply *pb.MaintReply, moved time.Duration, err error) {
	before := time.Now()
	reply, err = maint(k, &pb.ClockQuery{Ntp: true, Sync: true})
	after := time.Now()
	return reply, after.Round(0).Sub(before.Round(0)) - after.Sub(before), err
}

func TestVMStep(t *testing.T) {
	for _, off := range []time.Duration{7210 * time.Millisecond, -7210 * time.Millisecond, 300 * 24 * time.Hour, 250 * time.Millisecond} {
		reply, moved, err := vmSync(vmKeeper(t, off, 0))
		if err != nil || reply.Error != "" {
			t.Fatalf("%v: got %v, %v", off, reply, err)
		}
		t.Logf("%v: %v", off, reply)
		if (moved - off).Abs() > 50*time.Millisecond {
			t.Errorf("%v: the clock moved by %v", off, moved)
		}
		c := reply.Clock
		if c.Sync.Status != StatusSynchronised || c.Sync.Action != "step" || math.Abs(c.Offset) > 50 {
			t.Errorf("%v: got %v; want a step, verified", off, c)
		}
		if c.Kernel.State != "synchronised" || c.Kernel.MaxError > 200 {
			t.Errorf("%v: got kernel %v; want it to know", off, c.Kernel)
		}
	}
}

func TestVMSlew(t *testing.T) {
	for _, off := range []time.Duration{40 * time.Millisecond, -40 * time.Millisecond} {
		k := vmKeeper(t, off, time.Millisecond) // slewing is no step
		reply, moved, err := vmSync(k)
		if err != nil || reply.Error != "" {
			t.Fatalf("got %v, %v", reply, err)
		}
		t.Logf("%v: %v", off, reply)
		s := reply.Clock.Sync
		if s.Status != StatusSynchronised || s.Action != "slew" || !s.Slewing || s.Remaining*millis(off) <= 0 {
			t.Errorf("got %v; want slewing, status 0", s)
		}
		if moved.Abs() > 10*time.Millisecond {
			t.Errorf("the clock moved by %v at once", moved)
		}
		// 500 ppm: half a millisecond a second, in the right direction.
		started, first := time.Now(), k.kernel.remaining()
		for (k.kernel.remaining() - first).Abs() < 500*time.Microsecond {
			if time.Since(started) > 20*time.Second {
				t.Fatalf("of %v, %v remains after 20 s", first, k.kernel.remaining())
			}
			time.Sleep(10 * time.Millisecond) // the kernel tells nobody: it has to be looked at
		}
		if left := k.kernel.remaining(); left.Abs() >= first.Abs() {
			t.Errorf("%v remained, now %v", first, left)
		}
		// What is left is what a step forgets, so that it is not made up twice.
		if err := k.kernel.step(0); err != nil || k.kernel.remaining() != 0 {
			t.Errorf("after a step got %v, %v remaining; want nothing", err, k.kernel.remaining())
		}
	}
}

func TestVMMaxStep(t *testing.T) {
	reply, moved, err := vmSync(vmKeeper(t, time.Minute, time.Second))
	if err == nil || reply.Clock.Sync.Status != StatusNotSynchronised || moved.Abs() > 10*time.Millisecond {
		t.Errorf("got %v, %v, moved by %v; want it refused", reply, err, moved)
	}
}

func TestVMDaemonIsLeftInCharge(t *testing.T) {
	k := vmKeeper(t, time.Minute, 0)
	namedLike(t, "chronyd")
	reply, moved, err := vmSync(k)
	if err != nil || reply.Clock.Sync.Action != "left to chronyd" || reply.Clock.Sync.Status != StatusNotSynchronised || moved.Abs() > 10*time.Millisecond {
		t.Errorf("got %v, %v, moved by %v; want it left alone", reply, err, moved)
	}
}

// The kernel refuses somebody without the capability, even in a machine where
// nothing else protects the clock.
func TestVMWithoutCapability(t *testing.T) {
	inVM(t)
	TestWithoutPermission(t)
}
