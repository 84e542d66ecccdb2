package facts

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// cgroups are the directories of this process's cgroups, from its own up to the
// highest that is mounted: any of them may have the smallest limit.
type cgroups struct {
	v2      []string
	v1      map[string][]string // by controller
	foundAt time.Time
}

// cgroupsKept: a runner is moved once, at its start.
const cgroupsKept = 10 * time.Second

var ownCgroups struct {
	sync.Mutex
	found cgroups
}

func cgroupsOfSelf() cgroups {
	ownCgroups.Lock()
	defer ownCgroups.Unlock()
	if time.Since(ownCgroups.found.foundAt) > cgroupsKept {
		member, _ := os.ReadFile("/proc/self/cgroup") // without cgroups there are none
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		ownCgroups.found = findCgroups(string(member), string(mounts))
		ownCgroups.found.foundAt = time.Now()
	}
	return ownCgroups.found
}

// findCgroups puts together /proc/self/cgroup ("ID:CONTROLLERS:PATH") and
// /proc/self/mountinfo.
func findCgroups(member, mountinfo string) cgroups {
	v2 := ""
	v1 := map[string]string{}
	for line := range strings.Lines(member) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			v2 = parts[2]
			continue
		}
		for c := range strings.SplitSeq(parts[1], ",") {
			v1[c] = parts[2]
		}
	}
	found := cgroups{v1: map[string][]string{}}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		root, point := fields[3], fields[4]
		switch kind[0] {
		case "cgroup2":
			if found.v2 == nil && v2 != "" {
				found.v2 = upwards(point, root, v2)
			}
		case "cgroup":
			for c := range strings.SplitSeq(kind[2], ",") {
				if path, ok := v1[c]; ok && found.v1[c] == nil {
					found.v1[c] = upwards(point, root, path)
				}
			}
		}
	}
	return found
}

// upwards lists the directories of a cgroup. A mount in a container begins at
// the container's own cgroup, and a path outside of it has ".." or is not
// below: then the mount's top is the best there is.
func upwards(point, root, path string) []string {
	rel := ""
	if root == "/" {
		rel = path
	} else if rest, ok := strings.CutPrefix(path, root); ok && (rest == "" || rest[0] == '/') {
		rel = rest
	}
	if strings.Contains(rel, "..") {
		rel = ""
	}
	top := filepath.Clean(point)
	dirs := []string{}
	for dir := filepath.Join(top, rel); len(dir) > len(top); dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	return append(dirs, top)
}

// memory gives the smallest limit, and what is in use in the cgroup that has
// it, without the page cache that can be dropped at once.
func (c cgroups) memory() (limit, used int64, ok bool) {
	consider := func(dir, top, usage, cache string) {
		n, err := readNumber(dir + "/" + top)
		if err != nil || ok && n >= limit {
			return
		}
		limit, ok = n, true
		used, _ = readNumber(dir + "/" + usage)
		used = max(0, used-readKey(dir+"/memory.stat", cache))
	}
	for _, dir := range c.v2 {
		consider(dir, "memory.max", "memory.current", "inactive_file")
	}
	for _, dir := range c.v1["memory"] {
		consider(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
	}
	return limit, used, ok
}

// cpu gives the smallest share in thousandths of a CPU, and the CPU time that
// the cgroup which has it has used.
func (c cgroups) cpu() (milli int64, used time.Duration, ok bool) {
	consider := func(quota, period int64) bool {
		if quota <= 0 || period <= 0 {
			return false
		}
		n := max(1, int64(float64(quota)/float64(period)*1000))
		if ok && n >= milli {
			return false
		}
		milli, ok = n, true
		return true
	}
	for _, dir := range c.v2 {
		b, err := os.ReadFile(dir + "/cpu.max")
		fields := strings.Fields(string(b))
		if err != nil || len(fields) != 2 {
			continue
		}
		quota, _ := strconv.ParseInt(fields[0], 10, 64) // 0 for "max"
		period, _ := strconv.ParseInt(fields[1], 10, 64)
		if consider(quota, period) {
			used = time.Duration(readKey(dir+"/cpu.stat", "usage_usec")) * time.Microsecond
		}
	}
	for i, dir := range c.v1["cpu"] {
		quota, err1 := readNumber(dir + "/cpu.cfs_quota_us") // -1: none
		period, err2 := readNumber(dir + "/cpu.cfs_period_us")
		if err1 != nil || err2 != nil || !consider(quota, period) {
			continue
		}
		used = 0
		if acct := c.v1["cpuacct"]; i < len(acct) {
			ns, _ := readNumber(acct[i] + "/cpuacct.usage")
			used = time.Duration(ns)
		}
	}
	return milli, used, ok
}

func readNumber(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// readKey reads a number from lines "KEY NUMBER", 0 if it isn't there.
func readKey(path, key string) int64 {
	b, _ := os.ReadFile(path) // not there: 0
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}
