package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setThreadIDs changes the file system ids and groups of the calling thread alone.
func setThreadIDs(uid, gid int, groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	if err := unix.Setfsgid(gid); err != nil {
		return err
	}
	return unix.Setfsuid(uid)
}

func uintptrOf(n *int32) uintptr { return uintptr(unsafe.Pointer(n)) }
