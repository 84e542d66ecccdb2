package sandbox

import "golang.org/x/sys/unix"

const (
	seccompArch     = unix.AUDIT_ARCH_AARCH64
	seccompOtherABI = 0
)

var forbiddenHere []uint32
