//go:build amd64 || arm64

package sandbox

import (
	"syscall"
	"unsafe"
)

// cloneChild makes a process that shares this one's memory and goes on in the main function and on the stack that were prepared for it. It is in assembly because two processes that come out
// of one system call need two stacks. The result is the kernel's: above -4096 it is an error.
func cloneChild(args *cloneArgs, size uintptr) (result uintptr)

// cloned reads a result.
//
//go:norace
//go:nosplit
func cloned(result uintptr) (pid uintptr, errno syscall.Errno) {
	if result > ^uintptr(4095) {
		return 0, syscall.Errno(-result)
	}
	return result, 0
}

// childStack is the stack of such a process. What runs on it needs no more than the 800 bytes or so that the linker allows to functions without stack checks.
type childStack [1024]uint64

// prepare lays out what cloneChild finds there.
func (s *childStack) prepare(args *cloneArgs, p *plan, main func(*plan)) {
	top := len(s) - 8 // words of room above, of which the first is the link register's on some machines
	s[top+1] = uint64(uintptr(unsafe.Pointer(p)))
	s[top+2] = uint64(**(**uintptr)(unsafe.Pointer(&main)))
	args.stack, args.stackSize = uint64(uintptr(unsafe.Pointer(s))), uint64(top)*8
}
