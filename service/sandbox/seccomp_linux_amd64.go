package sandbox

import "golang.org/x/sys/unix"

const (
	seccompArch     = unix.AUDIT_ARCH_X86_64
	seccompOtherABI = 0x4000_0000 // x32
)

var forbiddenHere = []uint32{unix.SYS_IOPERM, unix.SYS_IOPL, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_SYSFS, unix.SYS__SYSCTL,
	unix.SYS_CREATE_MODULE, unix.SYS_GET_KERNEL_SYMS, unix.SYS_QUERY_MODULE}
