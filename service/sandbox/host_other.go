//go:build !unix

package sandbox

import (
	"errors"
	"syscall"
	"time"
)

// errRefused is the whole of this package where there are no unix processes.
var errRefused = errors.New("runs are not possible on this system: a runner needs Linux, macOS or another unix")

// Host is this machine as a place to run things on.
type Host struct{}

// Open refuses.
func Open(Config) (*Host, error) { return nil, errRefused }

// Facts tells what this host can do: nothing.
func (h *Host) Facts() Facts { return Facts{NoCgroup: errRefused.Error()} }

// Close does nothing.
func (h *Host) Close() error { return nil }

// Sweep refuses.
func (h *Host) Sweep() error { return errRefused }

// Prepare refuses.
func (h *Host) Prepare(Spec) (*Prepared, error) {
	return nil, &StartError{Op: "start", Err: errRefused}
}

// Start refuses.
func (h *Host) Start(Spec) (*Process, error) {
	return nil, &StartError{Op: "start", Err: errRefused}
}

// Prepared can't be had here.
type Prepared struct{}

// Start refuses.
func (p *Prepared) Start() (*Process, error) {
	return nil, &StartError{Op: "start", Err: errRefused}
}

// IsFar says that Start may wait for a mount.
func (p *Prepared) IsFar() bool { return false }

// Discard does nothing.
func (p *Prepared) Discard() {}

// Process can't be had here.
type Process struct{}

// PID is 0.
func (p *Process) PID() int { return 0 }

// Pump refuses.
func (p *Process) Pump(func(stream int, data []byte) error, func(idle bool) bool) (Status, error) {
	return Status{ExitCode: -1}, errRefused
}

// Terminate does nothing.
func (p *Process) Terminate(time.Duration) {}

// Kill does nothing.
func (p *Process) Kill() {}

func signalName(sig syscall.Signal) string { return sig.String() }

// Probe finds out which levels of isolation work here: none.
func (h *Host) Probe() Facts { return h.Facts() }

// ShimMain makes a program its own shim; there is nothing for one to do here.
func ShimMain() {}
