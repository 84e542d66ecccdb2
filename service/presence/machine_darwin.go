package presence

import (
	"time"

	"github.com/shirou/gopsutil/v3/host"
	"golang.org/x/sys/unix"
)

func machineID() string {
	id, err := host.HostID()
	if err != nil {
		return ""
	}
	return id
}

func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

func uptime() time.Duration {
	seconds, err := host.Uptime()
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
