package sandbox

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileID names a file by its device and inode.
type fileID struct{ dev, ino uint64 }

// memoryOf is the memory that processes use together: what is private, what they share once, their
// memory files, and the file systems in memory that an isolated run has for itself. What can be
// counted cheaply comes first and counts shared memory for each process; only if that is more than
// most, it is done exactly.
func (p *Process) memoryOf(procs []proc, most int64) int64 {
	var resident int64
	for _, one := range procs {
		resident += statusKB(one.pid, "RssAnon", "RssShmem", "VmSwap")
	}
	files, ids := memoryFiles(procs)
	devices, onDevices := p.ownTmpfs(procs)
	held := files + onDevices
	if resident+held <= most {
		return resident + held
	}
	// While processes fork, each is read at another time, and the sum can be of more than there is.
	now := shareOf(procs, held > 0, ids, devices)
	if now+held > most {
		now = min(now, shareOf(procs, held > 0, ids, devices))
	}
	return now + held
}

// shareOf adds up what processes have in memory, shared memory once, less what they have mapped of
// these files and file systems, if there are any.
func shareOf(procs []proc, less bool, ids map[fileID]bool, devices map[uint64]bool) (exact int64) {
	for _, one := range procs {
		share := rollupKB(one.pid)
		if share == 0 { // it may not be looked into, or has none
			share = statusKB(one.pid, "RssAnon", "RssShmem", "VmSwap")
		}
		exact += share
		if less { // they are counted by themselves
			exact -= mappedOf(one.pid, ids, devices)
		}
	}
	return max(exact, 0)
}

// statusKB adds up lines of /proc/PID/status that are in kB, in bytes.
func statusKB(pid int, names ...string) int64 {
	return sumKB(readText("/proc/"+strconv.Itoa(pid)+"/status"), names)
}

// rollupKB is a process's share of the memory that is not a file's on a disk.
func rollupKB(pid int) int64 {
	return sumKB(readText("/proc/"+strconv.Itoa(pid)+"/smaps_rollup"), []string{"Pss_Anon", "Pss_Shmem", "SwapPss"})
}

func sumKB(text string, names []string) (sum int64) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		for _, wanted := range names {
			if name == wanted {
				n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
				sum += n << 10
			}
		}
	}
	return sum
}

// memoryFiles are the files without a name that are in memory (memfd_create, shared mappings, System
// V segments) and that processes have open or mapped. A file is as big as it was made, however little
// of it is still mapped; who has it mapped and not open, root alone can ask.
func memoryFiles(procs []proc) (bytes int64, ids map[fileID]bool) {
	ids = map[fileID]bool{}
	for _, one := range procs {
		bytes += mappedFiles(one.pid, ids)
		dir := "/proc/" + strconv.Itoa(one.pid) + "/fd"
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			path := dir + "/" + entry.Name()
			link, err := os.Readlink(path)
			if err != nil || !strings.HasPrefix(link, "/memfd:") {
				continue
			}
			var stat unix.Stat_t
			if unix.Stat(path, &stat) != nil || ids[fileID{stat.Dev, stat.Ino}] {
				continue
			}
			ids[fileID{stat.Dev, stat.Ino}] = true
			bytes += stat.Blocks * 512
		}
	}
	return bytes, ids
}

// mappedFiles adds those that a process has mapped.
func mappedFiles(pid int, ids map[fileID]bool) (bytes int64) {
	dir := "/proc/" + strconv.Itoa(pid)
	for line := range strings.Lines(readText(dir + "/maps")) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "/memfd:") && !strings.HasPrefix(fields[5], "/SYSV") && fields[5] != "/dev/zero" {
			continue
		}
		id, ok := mappedFile(fields[3], fields[4])
		if !ok || ids[id] {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		var stat unix.Stat_t
		if unix.Stat(dir+"/map_files/"+strings.TrimLeft(from, "0")+"-"+strings.TrimLeft(to, "0"), &stat) == nil {
			ids[id] = true
			bytes += stat.Blocks * 512
		}
	}
	return bytes
}

// ownTmpfs is what is in the file systems in memory that are an isolated run's own.
func (p *Process) ownTmpfs(procs []proc) (devices map[uint64]bool, bytes int64) {
	devices = map[uint64]bool{}
	if p.tree.first == nil {
		return devices, 0
	}
	for _, one := range procs { // of the first that may be looked into
		root := "/proc/" + strconv.Itoa(one.pid) + "/root"
		for _, place := range append([]string{p.scratch}, scratchPlaces...) {
			var fs unix.Statfs_t
			var stat unix.Stat_t
			if place == "" || unix.Statfs(root+place, &fs) != nil || unix.Stat(root+place, &stat) != nil || devices[stat.Dev] {
				continue
			}
			devices[stat.Dev] = true
			bytes += int64(fs.Blocks-fs.Bfree) * fs.Bsize
		}
		if len(devices) > 0 {
			break
		}
	}
	return devices, bytes
}

// mappedOf is a process's share of mappings of these files and file systems.
func mappedOf(pid int, files map[fileID]bool, devices map[uint64]bool) (bytes int64) {
	counts := false
	for line := range strings.Lines(readText("/proc/" + strconv.Itoa(pid) + "/smaps")) {
		if fields := strings.Fields(line); len(fields) >= 5 && !strings.HasSuffix(fields[0], ":") {
			id, ok := mappedFile(fields[3], fields[4])
			counts = ok && (files[id] || devices[id.dev])
			continue
		}
		if counts {
			bytes += sumKB(line, []string{"Pss"})
		}
	}
	return bytes
}

// mappedFile reads "08:10" and the inode of a line of /proc/PID/maps.
func mappedFile(device, inode string) (id fileID, ok bool) {
	major, minor, _ := strings.Cut(device, ":")
	a, err1 := strconv.ParseUint(major, 16, 32)
	b, err2 := strconv.ParseUint(minor, 16, 32)
	ino, err3 := strconv.ParseUint(inode, 10, 64)
	return fileID{unix.Mkdev(uint32(a), uint32(b)), ino}, err1 == nil && err2 == nil && err3 == nil && ino != 0
}
