//go:build !linux && !darwin

package presence

import (
	"time"

	"github.com/shirou/gopsutil/v3/host"
)

func machineID() string {
	id, err := host.HostID()
	if err != nil {
		return ""
	}
	return id
}

// bootID: there is none here, so a card's age decides whether its runner lives.
func bootID() string { return "" }

func uptime() time.Duration {
	seconds, err := host.Uptime()
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
