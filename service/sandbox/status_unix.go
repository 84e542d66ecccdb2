//go:build unix

package sandbox

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return sig.String()
}

func statusOf(ws unix.WaitStatus, usage unix.Rusage) Status {
	status := Status{
		ExitCode:        ws.ExitStatus(),
		CPUUser:         time.Duration(usage.Utime.Nano()),
		CPUSystem:       time.Duration(usage.Stime.Nano()),
		PeakMemoryBytes: peakBytes(usage),
	}
	if ws.Signaled() {
		status.ExitCode, status.Signal = -1, ws.Signal()
	}
	return status
}

// peakBytes is the most memory that a process used. A process made by vfork counts its parent's memory until it execs, so what is not more than this process's own
// most says nothing.
func peakBytes(usage unix.Rusage) int64 {
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil || usage.Maxrss <= own.Maxrss {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(usage.Maxrss)
	}
	return int64(usage.Maxrss) << 10
}
