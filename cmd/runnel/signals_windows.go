package main

import (
	"os"
	"os/signal"
)

// endSignals are the signals that end a server: the first drains it, a second
// ends it at once.
func endSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt)
	return c, func() { signal.Stop(c) }
}
