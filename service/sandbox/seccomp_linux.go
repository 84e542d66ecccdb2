//go:build amd64 || arm64

package sandbox

import "golang.org/x/sys/unix"

// The strict filter forbids what a program that computes has no use for and what has been the way out of other sandboxes. It is a list of what is forbidden, not of what is allowed:
// the languages that run here need most of the rest, and new system calls are named here when they are of that kind. Forbidden calls fail with EPERM; clone3, whose flags a filter
// can't see, with ENOSYS, so that the C library turns to clone. It is written by hand, because a library's tables of all system calls of all machines would be built at every start
// of the shim.

var forbiddenCalls = []uint32{
	// The file tree.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_FANOTIFY_INIT,
	// Other processes.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	// Namespaces.
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	// The kernel, and parts of it that are big and seldom needed.
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP,
	unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE,
	unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SYSLOG, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_NFSSERVCTL, unix.SYS_MEMFD_SECRET, unix.SYS_VHANGUP,
	unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES,
	// The machine's clock and names.
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
}

// forbiddenSockets are families that a network namespace does not hold, or that are only a way into the kernel.
var forbiddenSockets = []uint32{unix.AF_VSOCK, unix.AF_ALG, unix.AF_KEY, unix.AF_PACKET, unix.AF_TIPC, unix.AF_RDS, unix.AF_XDP}

const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP |
	unix.CLONE_NEWTIME

// Where things are in the kernel's struct seccomp_data; arguments are of 64 bits, the low half first on every machine that this is built for.
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16
	dataArg1   = 24
)

const (
	allow     = unix.SECCOMP_RET_ALLOW
	kill      = unix.SECCOMP_RET_KILL_PROCESS
	forbidden = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown   = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// strictFilter is the filter's program. (It fails on machines that there is no list for.)
func strictFilter() ([]unix.SockFilter, error) {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	// Each test jumps over what follows if it does not hold, so no jump is longer than its own lines.
	skipUnless := func(value uint32, lines uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: lines}
	}
	end := func(verdict uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
	}
	f := []unix.SockFilter{load(dataArch), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: seccompArch, Jt: 1}, end(kill), load(dataNumber)}
	if seccompOtherABI != 0 { // x32, and whatever has numbers above
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: seccompOtherABI, Jf: 1}, end(unknown))
	}
	for _, call := range append(forbiddenCalls[:len(forbiddenCalls):len(forbiddenCalls)], forbiddenHere...) {
		f = append(f, skipUnless(call, 1), end(forbidden))
	}
	f = append(f, skipUnless(unix.SYS_CLONE3, 1), end(unknown))
	f = append(f, skipUnless(unix.SYS_CLONE, 4), load(dataArg0),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: newNamespaces, Jf: 1}, end(forbidden), end(allow))
	f = append(f, skipUnless(unix.SYS_IOCTL, 6), load(dataArg1), skipUnless(unix.TIOCSTI, 1), end(forbidden), skipUnless(unix.TIOCLINUX, 1), end(forbidden), end(allow))
	f = append(f, skipUnless(unix.SYS_SOCKET, uint8(2*len(forbiddenSockets)+2)), load(dataArg0))
	for _, family := range forbiddenSockets {
		f = append(f, skipUnless(family, 1), end(forbidden))
	}
	return append(f, end(allow), end(allow)), nil
}
