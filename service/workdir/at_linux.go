package workdir

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const openPath = unix.O_PATH

// openFolder opens a folder itself: not what a link of that name leads to, and
// not what is mounted on it (EXDEV).
func openFolder(at int, name string) (fd int, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err = unix.Openat2(at, name, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAGAIN) {
		fd, err = unix.Openat(at, name, flags, 0)
	}
	return fd, err
}

// pin holds a name's file, of whatever kind, without opening it.
func pin(at int, name string) (fd int, err error) {
	return unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// chmodAt changes the rights of a file or folder, and never those of what a link
// leads to.
func chmodAt(at int, name string, mode uint32) error {
	fd, err := pin(at, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if kind := stat.Mode & unix.S_IFMT; kind != unix.S_IFDIR && (kind != unix.S_IFREG || stat.Nlink > 1) {
		return unix.EINVAL // a second name of it may be anybody's
	}
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

// detach takes down what a run has mounted on a folder, and removes that.
func detach(at int, name string) error {
	where := "/proc/self/fd/" + strconv.Itoa(at) + "/" + name
	if err := unix.Unmount(where, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return err
	}
	return unix.ENOTEMPTY // look again
}

// writerWait is how long a program is waited for that a fork still has open.
const writerWait = 500 * time.Millisecond

// Settle waits until a program that was just written can be executed.
func Settle(program string) { awaitWriters(unix.AT_FDCWD, program) }

// awaitWriters waits until nobody has a file open for writing, or exec would say
// so: a fork of this process has a copy of the descriptor until its own exec. A
// lease for reading is given only then.
func awaitWriters(at int, name string) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd) // and with it the lease
	for deadline := time.Now().Add(writerWait); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); !errors.Is(err, unix.EAGAIN) {
			return // or the file system knows no leases, and exec is tried again
		}
	}
}
