//go:build unix

package workdir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openParent opens a directory in which others can't rename what is not theirs,
// nor any directory on the way to it. The path has no links in it.
func openParent(dir string) (fd int, err error) {
	fd, err = unix.Open("/", openPath|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	at := "/"
	for _, part := range append(strings.FieldsFunc(dir, func(r rune) bool { return r == '/' }), "") {
		if err := checkParent(fd, at); err != nil {
			unix.Close(fd)
			return -1, err
		}
		if part == "" {
			break
		}
		next, err := unix.Openat(fd, part, openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		if at = filepath.Join(at, part); err != nil {
			return -1, fmt.Errorf("open %s: %w", at, err)
		}
		fd = next
	}
	return fd, nil
}

// overflowUID is whose files seem to be that have no owner in a user namespace.
const overflowUID = 65534

func checkParent(fd int, name string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("stat %s: %w", name, err)
	}
	self := os.Geteuid()
	mode, owner := fs.FileMode(stat.Mode), int(stat.Uid) // the system's bits, not Go's
	others := fs.FileMode(0o002)
	if self == 0 && stat.Gid != 0 {
		others |= 0o020
	}
	const sticky = 0o1000
	switch {
	case owner != 0 && owner != self && (self == 0 || owner != overflowUID):
		return fmt.Errorf("%s belongs to another account (%d): set TMPDIR to a directory of this one's", name, owner)
	case mode&others != 0 && mode&sticky == 0:
		return fmt.Errorf("others may write to %s, which is not sticky: chmod +t it, or set TMPDIR", name)
	}
	return nil
}
