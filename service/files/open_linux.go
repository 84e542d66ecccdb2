package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/mounts"
)

// resolver opens a path beneath a root. It uses openat2, which kernels before
// 5.6 and some seccomp filters don't have.
type resolver struct{ portable bool }

func newResolver() resolver {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return resolver{portable: true}
	}
	unix.Close(fd)
	return resolver{}
}

const openTries = 32 // openat2 gives up with EAGAIN when something is renamed meanwhile

func (r resolver) open(root, path string, isDir bool) (*os.File, error) {
	if r.portable {
		return openPortably(root, path, isDir)
	}
	at, resolve := unix.AT_FDCWD, uint64(unix.RESOLVE_NO_MAGICLINKS)
	if root != "/" {
		fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: root, Err: err}
		}
		defer unix.Close(fd)
		at, resolve = fd, resolve|unix.RESOLVE_BENEATH
	} else if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	if isDir {
		flags |= unix.O_DIRECTORY
	} else if err := checkRegular(at, path, resolve); err != nil {
		return nil, err
	}
	fd, err := openat2(at, path, flags, resolve)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// checkRegular looks without opening: to open a fifo lets its writer go on and
// lose what it writes, and to open some devices does something too.
func checkRegular(at int, path string, resolve uint64) error {
	fd, err := openat2(at, path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, resolve)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFLNK:
		return &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	case unix.S_IFDIR:
		return &fs.PathError{Op: "open", Path: path, Err: unix.EISDIR}
	}
	return &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
}

func openat2(at int, path string, flags int, resolve uint64) (fd int, err error) {
	for range openTries {
		fd, err = unix.Openat2(at, path, &unix.OpenHow{Flags: uint64(flags), Resolve: resolve})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ELOOP) && isThroughMagicLink(at, path, resolve) {
		return -1, &Refusal{"files.deny", path + " leads through a magic link of /proc, or in a circle"}
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// isThroughMagicLink tells why openat2 said ELOOP: not because the last name is a
// link, for then that can be opened by itself.
func isThroughMagicLink(at int, path string, resolve uint64) bool {
	fd, err := unix.Openat2(at, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: resolve})
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.ELOOP)
}

const oNofollow = unix.O_NOFOLLOW

// location is where an open file is.
type location struct {
	real   string // by the kernel
	info   os.FileInfo
	isProc bool
	inFS   placeInFS
}

// placeInFS is the same for every mount of a file system.
type placeInFS struct {
	device string // "8:1"
	path   string // from the file system's own root
}

func locate(file *os.File, _ string) (*location, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	at := &location{info: info}
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := conn.Control(func(fd uintptr) {
		var st unix.Statfs_t
		if err = unix.Fstatfs(int(fd), &st); err == nil {
			at.isProc = st.Type == unix.PROC_SUPER_MAGIC
			at.real, at.inFS, err = placeOf(int(fd))
		}
	})
	return at, errors.Join(err, controlErr)
}

func unopened(real string, info os.FileInfo) *location {
	below, isProc := strings.CutPrefix(real, "/proc/")
	if isProc {
		return &location{real: real, info: info, isProc: true, inFS: placeInFS{path: "/" + below}}
	}
	return &location{real: real, info: info, inFS: placeInFS{path: real}}
}

// names by which the deny list knows the file.
func (at *location) names() []string {
	if at.isProc || at.inFS.path == at.real { // /proc: wherever it is mounted
		return []string{at.inFS.path}
	}
	return []string{at.real, at.inFS.path}
}

func (at *location) isInOtherMount(path string) bool {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return true // it is there, and can't be told apart
	}
	defer unix.Close(fd)
	_, denied, err := placeOf(fd)
	return err != nil || denied.device == at.inFS.device && within(at.inFS.path, denied.path)
}

func placeOf(fd int) (real string, in placeInFS, err error) {
	proc := "/proc/self/fd/" + strconv.Itoa(fd)
	if real, err = os.Readlink(proc); err != nil {
		return "", in, err
	}
	// Deleted meanwhile; without this, a name that is denied by its end isn't.
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Nlink == 0 {
		real = strings.TrimSuffix(real, " (deleted)")
	}
	id, err := mountID(fd)
	if err != nil {
		return "", in, err
	}
	in, err = placeInMount(real, id)
	return real, in, err
}

func mountID(fd int) (string, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", errors.New("no mnt_id in /proc/self/fdinfo")
}

// placeInMount says where in its file system a path is that lies on a mount.
func placeInMount(real, id string) (placeInFS, error) {
	number, err := strconv.Atoi(id)
	if err != nil {
		return placeInFS{}, err
	}
	table, err := mounts.Now()
	if err != nil {
		return placeInFS{}, err
	}
	m, ok := table.ByID(number)
	if !ok {
		return placeInFS{}, errors.New("its mount is not in /proc/self/mountinfo")
	}
	point := strings.TrimSuffix(m.Point, "/")
	if !within(real, point+"/") {
		return placeInFS{}, fmt.Errorf("%s is not below its mount %s", real, point)
	}
	return placeInFS{m.Device, strings.TrimSuffix(m.Root, "/") + real[len(point):]}, nil
}

// isElsewhere says, without touching it, that a path is on a mount that may hang
// and isn't the open file's.
func (at *location) isElsewhere(path string) bool {
	m, err := mounts.Of(path)
	return err == nil && m.MayHang() && m.Device != at.inFS.device
}
