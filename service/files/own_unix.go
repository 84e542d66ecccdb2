//go:build unix

package files

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// CheckOwn says why a file or directory can't be trusted with this process's
// secrets: it, or a directory above it, belongs to neither this account nor root,
// or others may write there, as ssh has it (safe_path). A directory above may be
// like /tmp: its sticky bit keeps others from replacing what is ours.
func CheckOwn(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if err := checkOwner(real, true); err != nil {
		return err
	}
	// Where a link is on the way, both ways must be ours: its target and itself.
	for _, way := range slices.Compact([]string{real, path}) {
		for way != filepath.Dir(way) {
			way = filepath.Dir(way)
			if err := checkOwner(way, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkOwner looks at one file or directory; isLast is what was asked about.
func checkOwner(path string, isLast bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil // a file system that knows no owners
	}
	const advice = "%s belongs to %s; use one of this account's own, as nobody else may change it"
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() && (isLast || !isForeignRoot(stat.Uid)) {
		return fmt.Errorf(advice, path, accountName(stat.Uid))
	}
	mode := info.Mode()
	if !isLast && mode&fs.ModeSticky != 0 {
		return nil
	}
	const world, group = 0o002, 0o020
	if mode.Perm()&world != 0 || mode.Perm()&group != 0 && !isOwnGroup(stat.Gid) {
		return fmt.Errorf("others may write to %s (%s); take that right away with chmod go-w, or use another directory", path, mode)
	}
	return nil
}

// isOwnGroup says whether a group is this account's alone: its private one, whose
// number is the account's, or one that has a number and no name, as Kubernetes
// gives volumes to a pod.
func isOwnGroup(gid uint32) bool {
	if int(gid) == os.Getegid() && os.Getegid() == os.Geteuid() {
		return true
	}
	mine, err := os.Getgroups()
	if err != nil || !slices.Contains(append(mine, os.Getegid()), int(gid)) {
		return false
	}
	_, err = user.LookupGroupId(strconv.Itoa(int(gid)))
	return err != nil
}

// isForeignRoot: in a user namespace, what root owns outside belongs to the
// overflow account.
func isForeignRoot(uid uint32) bool {
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil || strings.TrimSpace(string(overflow)) != strconv.Itoa(int(uid)) {
		return false
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(ids))
	return err == nil && (len(fields) != 3 || fields[1] != "0")
}

func accountName(uid uint32) string {
	number := strconv.Itoa(int(uid))
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return "account " + number
}
