package sandbox

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is one system call that the forked child makes before it executes the program. It is all prepared before the fork: a fork of a Go program has one thread and no
// runtime, so the child may do nothing but make system calls.
type step struct {
	number uintptr
	args   [6]uintptr
	may    syscall.Errno // this failure is none
}

// steps are the child's way from fork to exec, and what each is called. Memory that arguments point to is kept by keep.
type steps struct {
	list  []step
	names []string
	keep  []any
}

// stepError says at which step the child failed.
type stepError struct {
	step  string
	errno syscall.Errno
}

func (e *stepError) Error() string { return e.step + ": " + e.errno.Error() }
func (e *stepError) Unwrap() error { return e.errno }

func (s *steps) add(name string, number uintptr, args ...uintptr) {
	one := step{number: number}
	copy(one.args[:], args)
	s.list, s.names = append(s.list, one), append(s.names, name)
}

// mayFail lets the last step fail in one way.
func (s *steps) mayFail(errno syscall.Errno) { s.list[len(s.list)-1].may = errno }

// text is a C string that stays where it is.
func (s *steps) text(text string) (uintptr, error) {
	p, err := unix.BytePtrFromString(text)
	if err != nil {
		return 0, err
	}
	s.keep = append(s.keep, p)
	return uintptr(unsafe.Pointer(p)), nil
}

// texts is a list of C strings that ends in a nil.
func (s *steps) texts(list []string) (uintptr, error) {
	pointers := make([]*byte, len(list)+1)
	for i, text := range list {
		p, err := unix.BytePtrFromString(text)
		if err != nil {
			return 0, err
		}
		pointers[i] = p
	}
	s.keep = append(s.keep, pointers)
	return uintptr(unsafe.Pointer(&pointers[0])), nil
}

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

const cloneIntoCgroup = 0x2_0000_0000

// failure is what the child tells about the step that failed.
type failure struct{ index, errno int64 }

// fork makes a child that goes the steps, in the leaf if there is one (leaf ≥ 0), and returns when it has executed the program, or a *stepError. The calling goroutine
// must be locked to its thread, because what the thread is (its capabilities, its filters) the child is.
func (s *steps) fork(leaf int) (pid int, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(ends[0])
	args := cloneArgs{exitSignal: uint64(unix.SIGCHLD)}
	if leaf >= 0 {
		args.flags, args.cgroup = cloneIntoCgroup, uint64(leaf)
	}
	var all, old [1]uint64
	all[0] = ^uint64(0)
	// No signal may find the child while it has the parent's handlers: they are the Go runtime's.
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(unix.SIG_SETMASK), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	child, errno := forkSteps(&args, &s.list[0], len(s.list), ends[1])
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(unix.SIG_SETMASK), uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	unix.Close(ends[1])
	if errno != 0 {
		return 0, &stepError{"fork", errno}
	}
	var failed failure
	told := (*[unsafe.Sizeof(failed)]byte)(unsafe.Pointer(&failed))[:]
	n, err := readFull(ends[0], told)
	switch {
	case n == 0 && err == nil:
		return int(child), nil
	case n != len(told) || failed.index < 0 || failed.index >= int64(len(s.names)):
		return 0, errors.New("the child ended before it could execute the program")
	}
	return 0, &stepError{s.names[failed.index], syscall.Errno(failed.errno)}
}

// readFull reads until buf is full or the end.
func readFull(fd int, buf []byte) (n int, err error) {
	for n < len(buf) {
		got, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return n, err
		}
		n += got
	}
	return n, nil
}

// forkSteps forks. The child comes out of the same system call, with a copy of everything, and never returns.
//
//go:norace
//go:nosplit
//go:noinline
func forkSteps(args *cloneArgs, first *step, count, report int) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for i := 0; i < count; i++ {
		one := (*step)(unsafe.Add(unsafe.Pointer(first), uintptr(i)*unsafe.Sizeof(*first)))
		_, _, errno = syscall.RawSyscall6(one.number, one.args[0], one.args[1], one.args[2], one.args[3], one.args[4], one.args[5])
		if errno != 0 && errno != one.may {
			failed := failure{int64(i), int64(errno)}
			syscall.RawSyscall(unix.SYS_WRITE, uintptr(report), uintptr(unsafe.Pointer(&failed)), unsafe.Sizeof(failed))
			break
		}
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}
