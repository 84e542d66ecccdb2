package sandbox

import (
	"os"
	"time"
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

// waitPidfd waits until a process has ended, without a thread, and closes its pidfd. It may wait for no longer than patience; 0 is for ever.
func waitPidfd(pidfd int, patience time.Duration) {
	_ = unix.SetNonblock(pidfd, true) // or os.NewFile would not give it to the runtime's poller
	file := os.NewFile(uintptr(pidfd), "process")
	defer file.Close()
	if patience > 0 {
		_ = file.SetReadDeadline(time.Now().Add(patience))
	}
	awaitReadable(file)
}

func uintptrOf(n *int32) uintptr { return uintptr(unsafe.Pointer(n)) }
