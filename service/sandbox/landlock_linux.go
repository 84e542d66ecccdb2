package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock is the second lock on what the mounts lock already: a strict run may write below a few directories, and read and execute the rest, whatever it manages to mount or
// to get a descriptor of. It is spoken to by system call: three of them are all there is.

// Rights by the version of the kernel's interface that brought them.
const (
	landlockReading = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFirst   = 1<<13 - 1
	landlockRefer   = 1 << 13     // 2
	landlockTrunc   = 1 << 14     // 3
	landlockIoctl   = 1 << 15     // 5
	landlockScopes  = 1<<0 | 1<<1 // 6: abstract sockets and signals of others
	landlockOnFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | landlockTrunc | landlockIoctl
)

// landlockAttr is the kernel's struct landlock_ruleset_attr; an older kernel takes the beginning of it.
type landlockAttr struct{ fs, net, scoped uint64 }

// landlockVersion is the version of the kernel's interface, or 0 if it is not there or turned off.
func landlockVersion() int {
	version, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// newRuleset makes the rules of a strict run.
func newRuleset(writable []string) (fd int, err error) {
	version := landlockVersion()
	if version == 0 {
		return -1, errors.New("landlock is not there, or not turned on")
	}
	attr, size := landlockAttr{fs: landlockFirst}, uintptr(8)
	if version >= 2 {
		attr.fs |= landlockRefer
	}
	if version >= 3 {
		attr.fs |= landlockTrunc
	}
	if version >= 5 {
		attr.fs |= landlockIoctl
	}
	if version >= 6 {
		size, attr.scoped = 24, landlockScopes
	}
	made, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, fmt.Errorf("landlock: %w", errno)
	}
	fd = int(made)
	rules := map[string]uint64{"/": landlockReading, "/dev": landlockReading | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | landlockIoctl | landlockTrunc,
		"/proc": landlockReading | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | landlockTrunc}
	for _, path := range writable {
		rules[path] = attr.fs
	}
	for path, rights := range rules {
		if err := allowBelow(fd, path, rights&attr.fs); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func allowBelow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("landlock: open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("landlock: stat %s: %w", path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= landlockOnFile
	}
	// The kernel's struct is packed: 8 bytes of rights, 4 of descriptor.
	var rule [12]byte
	*(*uint64)(unsafe.Pointer(&rule[0])) = rights
	*(*int32)(unsafe.Pointer(&rule[8])) = int32(fd)
	_, _, errno := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: allow %s: %w", path, errno)
	}
	return nil
}
