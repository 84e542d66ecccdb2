package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups makes leaves in a cgroup v2 directory. It moves nobody: a process is born in its leaf.
type cgroups struct {
	root        string
	prefix      string
	controllers []string // that limits can use
	why         string   // there are not more of them
	owned       sync.Once
	owner       string // the cgroup that says whose leaves they are, or empty
}

// findCgroups looks whether leaves can be made in root, or else in this process's own cgroup, and takes hold of its controllers.
func findCgroups(root, prefix string) (*cgroups, error) {
	configured := root != ""
	if !configured {
		var err error
		if root, err = ownCgroup(); err != nil {
			return nil, err
		}
	}
	if configured {
		if err := isCgroup2(root); err != nil {
			return nil, err
		}
	}
	root, controllers, why := delegate(root, configured)
	probe := filepath.Join(root, fmt.Sprintf("%sprobe-%d", prefix, os.Getpid()))
	if err := os.Mkdir(probe, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make a cgroup in %s: %w", root, rootCause(err))
	}
	defer os.Remove(probe)
	if err := unix.Access(filepath.Join(probe, "cgroup.kill"), unix.W_OK); err != nil {
		return nil, fmt.Errorf("no cgroup.kill in %s (cgroup v2 and Linux 5.14 or later are needed)", root)
	}
	return &cgroups{root: root, prefix: prefix, controllers: controllers, why: why}, nil
}

// isCgroup2 refuses a directory that is not one of cgroup v2's, before anything is written there.
func isCgroup2(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("cannot use cgroup %s: %w", dir, err)
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is not in cgroup v2", dir)
	}
	return nil
}

// ownCgroup is the directory of the cgroup v2 that this process is in.
func ownCgroup() (string, error) {
	membership, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("no cgroups: %w", rootCause(err))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("no cgroups: %w", rootCause(err))
	}
	return cgroupDir(string(membership), string(mounts))
}

// cgroupDir finds the mounted directory of the "0::" line of /proc/self/cgroup in the text of /proc/self/mountinfo.
func cgroupDir(membership, mountinfo string) (string, error) {
	var own string
	for line := range strings.Lines(membership) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			own = strings.TrimSuffix(path, "\n")
		}
	}
	if own == "" {
		return "", errors.New("no cgroup v2")
	}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		if !ok || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		fields := strings.Fields(before)
		if len(fields) < 5 {
			continue
		}
		within, mount := unescapeMount(fields[3]), unescapeMount(fields[4])
		rel, err := filepath.Rel(within, own)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			continue // another part of the tree is mounted here
		}
		return filepath.Join(mount, rel), nil
	}
	return "", errors.New("no cgroup v2 mounted that has this process in it")
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}

func (c *cgroups) leaf(id string) string { return filepath.Join(c.root, c.prefix+id) }

// make makes the leaf of a run. One that is there already was left by an earlier life, for ids of live runs are not given twice.
func (c *cgroups) make(id string) (leaf string, err error) {
	c.own()
	leaf = c.leaf(id)
	err = unix.Mkdir(leaf, 0o755)
	if err == unix.EEXIST {
		if err := endCgroup(leaf, gone); err != nil {
			return "", err
		}
		err = unix.Mkdir(leaf, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("cannot make cgroup %s: %w", leaf, err)
	}
	return leaf, nil
}

// left lists the leaves that are there.
func (c *cgroups) left() (ids []string, err error) {
	entries, err := os.ReadDir(c.root)
	for _, entry := range entries {
		if id, ok := strings.CutPrefix(entry.Name(), c.prefix); ok && entry.IsDir() && !strings.HasPrefix(id, ownerMark) {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// endCgroup kills everything in a cgroup and removes it, with those inside it. It returns when that is done, or an error after the time that killed processes are given,
// unless they still run: what hangs does not.
// To remove an empty one is the test whether it is empty, so a run that left nothing behind costs one system call here.
func endCgroup(dir string, patience time.Duration) error {
	pause := 100 * time.Microsecond
	began := time.Now()
	for deadline := began.Add(patience); ; {
		err := unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY {
			return fmt.Errorf("cannot remove cgroup %s: %w", dir, err)
		}
		if time.Now().After(deadline) && (time.Since(began) > mostStuck || !slices.ContainsFunc(cgroupProcs(dir), hasRunningThread)) {
			return fmt.Errorf("cannot remove cgroup %s: processes in it do not end: %v", dir, cgroupProcs(dir))
		}
		if err := killCgroup(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, inner := range innerCgroups(dir) {
			unix.Rmdir(inner) // fails while something in it is dying; the next round sees
		}
		time.Sleep(pause)
		pause = min(pause*2, 10*time.Millisecond)
	}
}

// emptyCgroup says whether nobody is in a cgroup and no cgroup is inside it; if it can't tell, it says no. Nobody can come into an empty one: its members alone are born
// there. (To read cgroup.events would be one step, and takes longer than these two.)
func emptyCgroup(dir string) bool {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil || stat.Nlink != 2 {
		return false
	}
	fd, err := unix.Open(dir+"/cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var first [16]byte
	n, err := unix.Read(fd, first[:])
	return err == nil && n == 0
}

func killCgroup(dir string) error {
	return writeFile(filepath.Join(dir, "cgroup.kill"), "1")
}

func writeFile(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(text)
	return err
}

// innerCgroups lists the cgroups inside one, the deepest first.
func innerCgroups(dir string) (inner []string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.IsDir() {
			path := filepath.Join(dir, entry.Name())
			inner = append(append(inner, innerCgroups(path)...), path)
		}
	}
	return inner
}

// cgroupProcs lists the processes in a cgroup and those inside it.
func cgroupProcs(dir string) (pids []int) {
	for _, dir := range append(innerCgroups(dir), dir) {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			if pid, err := strconv.Atoi(lines.Text()); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// signalCgroup signals every process in a cgroup. A process counts as in it if its number was listed after the pidfd was opened: a number that had been used again
// by somebody outside is not listed, and a pidfd of one that has ended reaches nobody.
func signalCgroup(dir string, sig unix.Signal) {
	pidfds := map[int]int{}
	for _, pid := range cgroupProcs(dir) {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			pidfds[pid] = fd
		}
	}
	for _, pid := range cgroupProcs(dir) {
		if fd, ok := pidfds[pid]; ok {
			_ = unix.PidfdSendSignal(fd, sig, nil, 0) // it may have ended meanwhile
		}
	}
	for _, fd := range pidfds {
		unix.Close(fd)
	}
}
