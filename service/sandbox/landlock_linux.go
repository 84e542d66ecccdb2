package sandbox

import (
	"errors"
	"os"
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

// addRuleset adds the steps that make a strict run's rules, and returns where their number is saved.
func (s *steps) addRuleset(writable []string) (ruleset *uintptr, err error) {
	version := landlockVersion()
	if version == 0 {
		return nil, errors.New("landlock is not there, or not turned on")
	}
	attr, size := &landlockAttr{fs: landlockFirst}, 8
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
		size, attr.scoped = int(unsafe.Sizeof(*attr)), landlockScopes
	}
	s.keep = append(s.keep, attr)
	ruleset = new(uintptr)
	s.add("landlock", unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(attr)), size, 0).save = ruleset
	s.allowBelow(ruleset, "/", landlockReading)
	s.allowBelow(ruleset, "/dev", (landlockReading|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|landlockIoctl|landlockTrunc)&attr.fs)
	s.allowBelow(ruleset, "/proc", (landlockReading|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|landlockTrunc)&attr.fs)
	for _, path := range writable {
		info, err := os.Stat(path)
		switch {
		case err != nil: // a cover's place that this host does not have
		case info.IsDir():
			s.allowBelow(ruleset, path, attr.fs)
		default:
			s.allowBelow(ruleset, path, landlockOnFile&attr.fs)
		}
	}
	return ruleset, nil
}

func (s *steps) allowBelow(ruleset *uintptr, path string, rights uint64) {
	rule := &[2]uint64{rights} // the kernel's struct: 8 bytes of rights, 4 of descriptor
	s.keep = append(s.keep, rule)
	s.add("landlock: open "+path, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_PATH|unix.O_CLOEXEC, 0).save = (*uintptr)(unsafe.Pointer(&rule[1]))
	s.add("landlock: allow "+path, unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(rule)), 0)
}
