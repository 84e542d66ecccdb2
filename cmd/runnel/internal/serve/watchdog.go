package serve

import (
	"net"
	"os"
	"strconv"
	"time"
)

// watchdog ticks twice in the time after which systemd takes this service for
// hung (WatchdogSec=), or never.
func (s *command) watchdog() *time.Ticker {
	micros, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || micros <= 0 {
		idle := time.NewTicker(time.Hour)
		idle.Stop()
		return idle
	}
	return time.NewTicker(max(time.Duration(micros)*time.Microsecond/2, time.Millisecond))
}

// feedWatchdog says that every runner still answers; that NATS is away is no
// reason to be restarted.
func (s *command) feedWatchdog() {
	for _, r := range s.runners {
		r.Service.Health()
	}
	notify("WATCHDOG=1")
}

// notify tells systemd how this service is doing, where it asks (sd_notify).
// It is a courtesy: a failure changes nothing.
func notify(state string) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	conn, err := net.Dial("unixgram", address)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
