//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// ReloadSignal makes a server read its configuration again.
const ReloadSignal = syscall.SIGHUP

// ServeSignals are the signals that a server heeds. SIGUSR2 is lame duck, as in
// nats-server: a drain, here.
func ServeSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR2, ReloadSignal)
	return c, func() { signal.Stop(c) }
}

// RereadSignal makes a server in prunner's place read its pipelines again.
const RereadSignal = syscall.SIGUSR1

// PrunnerSignals are the signals that a server in prunner's place heeds.
func PrunnerSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, RereadSignal)
	return c, func() { signal.Stop(c) }
}

// UserSignals are the signals by which a user ends a command that waits.
func UserSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, LeaveSignal)
	return c, func() { signal.Stop(c) }
}

// IgnorePipeSignal makes a write to a pipe that nobody reads an error (EPIPE)
// instead of the end of the process, until what it returns is called.
func IgnorePipeSignal() (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}
