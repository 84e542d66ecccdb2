package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloadSignal never comes.
const reloadSignal = syscall.SIGHUP

// serveSignals are the signals that a server heeds.
func serveSignals() (signals <-chan os.Signal, stop func()) { return userSignals() }

// userSignals are the signals by which a user ends a command that waits.
func userSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, os.Interrupt)
	return c, func() { signal.Stop(c) }
}

// ignorePipeSignal does nothing: there is no such signal.
func ignorePipeSignal() (stop func()) { return func() {} }
