package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A host that makes leaves has a cgroup beside them whose name says which process it is. A runner
// that was killed, and whose data directory is lost, has nobody of its name to remove its leaves:
// whoever sweeps next on this machine sees by that cgroup that the process is gone.

const ownerMark = "@"

// ownerName is the prefix and, after the mark, this process by its number, its start and its PID namespace.
func ownerName(prefix string) string {
	self, ok := readProc(os.Getpid())
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s%s%d.%d.%s", prefix, ownerMark, self.pid, self.startTicks, pidNamespace())
}

func pidNamespace() string {
	return strings.Trim(strings.TrimPrefix(readLink("/proc/self/ns/pid"), "pid:"), "[]")
}

func readLink(path string) string {
	to, _ := os.Readlink(path) // nothing is what is not there
	return to
}

// own makes the owner's cgroup, once.
func (c *cgroups) own() {
	c.owned.Do(func() {
		if name := ownerName(c.prefix); name != "" && unix.Mkdir(filepath.Join(c.root, name), 0o755) == nil {
			c.owner = filepath.Join(c.root, name)
		}
	})
}

// disown removes it.
func (c *cgroups) disown() {
	c.owned.Do(func() {})
	if c.owner != "" {
		_ = unix.Rmdir(c.owner) // nobody was ever in it
	}
}

// sweepGone removes what runners that are gone have left and nobody is in: those of a living one are
// not touched, and what has processes in it stays for its runner's next life.
func (c *cgroups) sweepGone() {
	entries, err := os.ReadDir(c.root)
	if err != nil {
		return
	}
	var living, gone []string       // prefixes
	owners := map[string][]string{} // of a prefix: as many as there were lives that were killed
	for _, entry := range entries {
		prefix, who, ok := strings.Cut(entry.Name(), ownerMark)
		if !ok || !entry.IsDir() {
			continue
		}
		if isOwnerAlive(who) {
			living = append(living, prefix)
		} else {
			if owners[prefix] == nil {
				gone = append(gone, prefix)
			}
			owners[prefix] = append(owners[prefix], entry.Name())
		}
	}
	for _, prefix := range gone {
		left := prefix == c.prefix // Sweep does the rest of those
		for _, entry := range entries {
			name := entry.Name()
			if left || !entry.IsDir() || !strings.HasPrefix(name, prefix) || strings.Contains(name, ownerMark) || belongs(name, prefix, living) {
				continue
			}
			path := filepath.Join(c.root, name)
			for _, inner := range innerCgroups(path) {
				_ = unix.Rmdir(inner) // or the next fails
			}
			left = unix.Rmdir(path) != nil || left
		}
		if left && prefix != c.prefix {
			continue
		}
		for _, name := range owners[prefix] {
			_ = unix.Rmdir(filepath.Join(c.root, name))
		}
	}
}

// belongs says whether a leaf is of a living runner: one with the same prefix or a longer one.
func belongs(name, prefix string, living []string) bool {
	for _, other := range living {
		if len(other) >= len(prefix) && strings.HasPrefix(name, other) {
			return true
		}
	}
	return false
}

// isOwnerAlive reads "number.start.namespace". What can't be told lives.
func isOwnerAlive(who string) bool {
	parts := strings.Split(who, ".")
	if len(parts) != 3 || parts[2] != pidNamespace() {
		return true
	}
	pid, err1 := strconv.Atoi(parts[0])
	start, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err1 != nil || err2 != nil {
		return true
	}
	one, ok := readProc(pid)
	return ok && one.startTicks == start && !one.dead()
}
