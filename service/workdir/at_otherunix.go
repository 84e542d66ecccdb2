//go:build unix && !linux

package workdir

import "golang.org/x/sys/unix"

const openPath = unix.O_RDONLY

// openFolder opens a folder itself, not what a link of that name leads to.
func openFolder(at int, name string) (fd int, err error) {
	return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// chmodAt changes the rights of a file or folder, and never those of what a link
// leads to.
func chmodAt(at int, name string, mode uint32) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(at, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if kind := stat.Mode & unix.S_IFMT; kind != unix.S_IFDIR && (kind != unix.S_IFREG || stat.Nlink > 1) {
		return unix.EINVAL
	}
	return unix.Fchmodat(at, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}

func detach(int, string) error { return unix.EBUSY }

func awaitWriters(int, string) {}

// Settle has nothing to wait for: exec is tried again.
func Settle(string) {}
