//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals are the signals that end a server: the first drains it, a second
// ends it at once. SIGUSR2 is lame duck, as in nats-server; here a drain too.
func endSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR2)
	return c, func() { signal.Stop(c) }
}
