package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// ReloadSignal never comes.
const ReloadSignal = syscall.SIGHUP

// RereadSignal never comes.
const RereadSignal = syscall.SIGHUP

// PrunnerSignals are never asked for: nothing stands in for prunner here.
func PrunnerSignals() (signals <-chan os.Signal, stop func()) { return UserSignals() }

// ServeSignals are the signals that a server heeds.
func ServeSignals() (signals <-chan os.Signal, stop func()) { return UserSignals() }

// UserSignals are the signals by which a user ends a command that waits.
func UserSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, os.Interrupt)
	return c, func() { signal.Stop(c) }
}

// IgnorePipeSignal does nothing: there is no such signal.
func IgnorePipeSignal() (stop func()) { return func() {} }
