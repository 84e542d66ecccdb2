//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloadSignal makes a server read its configuration again.
const reloadSignal = syscall.SIGHUP

// serveSignals are the signals that a server heeds. SIGUSR2 is lame duck, as in
// nats-server: a drain, here.
func serveSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR2, reloadSignal)
	return c, func() { signal.Stop(c) }
}

// userSignals are the signals by which a user ends a command that waits.
func userSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// ignorePipeSignal makes a write to a pipe that nobody reads an error (EPIPE)
// instead of the end of the process, until what it returns is called.
func ignorePipeSignal() (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}
