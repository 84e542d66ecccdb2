package presence

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// machineIDs are where a machine's id may be: systemd's and D-Bus's.
var machineIDs = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}

// machineID of this host. An image that is to get one at its first boot says
// "uninitialized".
func machineID() string {
	for _, path := range machineIDs {
		if id := readLine(path); id != "" && id != "uninitialized" {
			return id
		}
	}
	return ""
}

func bootID() string { return readLine("/proc/sys/kernel/random/boot_id") }

func uptime() time.Duration {
	seconds, _, _ := strings.Cut(readLine("/proc/uptime"), " ")
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return 0
	}
	return time.Duration(f * float64(time.Second))
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
