package sandbox

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is one system call that a forked child makes. It is all prepared before the fork: a fork of a Go program has one thread and no runtime, so it may do nothing but make system
// calls, from functions that need no more stack. That is worth it, because the runtime of a fresh Go program takes longer to start than all else that an isolated run needs.
type step struct {
	number uintptr
	args   [6]uintptr
	load   [6]*uintptr   // arguments that are results of earlier steps
	save   *uintptr      // where the result goes, if it is wanted
	may    syscall.Errno // this failure is none
	count  uintptr       // made so many times, with the argument at counting up; 0 is once
	at     int
}

// steps are a child's way, and what each step is called. Memory that arguments point to is kept by keep.
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

// times has a step made for every value of one argument from what it is, count of them.
func (s *step) times(at int, count uintptr) *step {
	s.at, s.count = at, count
	return s
}

// add adds a step. An argument is a uintptr, or a *uintptr that an earlier step saved its result in.
func (s *steps) add(name string, number uintptr, args ...any) *step {
	one := step{number: number}
	for i, arg := range args {
		switch arg := arg.(type) {
		case uintptr:
			one.args[i] = arg
		case int:
			one.args[i] = uintptr(arg)
		case *uintptr:
			one.load[i] = arg
		case string:
			p := append([]byte(arg), 0)
			s.keep = append(s.keep, p)
			one.args[i] = uintptr(unsafe.Pointer(&p[0]))
		default:
			panic("sandbox: a step's argument is of a kind that the kernel does not take")
		}
	}
	s.list, s.names = append(s.list, one), append(s.names, name)
	return &s.list[len(s.list)-1]
}

// texts is a list of C strings that ends in a nil.
func (s *steps) texts(list []string) uintptr {
	pointers := make([]*byte, len(list)+1)
	for i, text := range list {
		pointers[i] = &append([]byte(text), 0)[0]
	}
	s.keep = append(s.keep, pointers)
	return uintptr(unsafe.Pointer(&pointers[0]))
}

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

const cloneIntoCgroup = 0x2_0000_0000

// plan is what one run needs: one fork, or two: the first child goes the first steps; if there are second ones, it makes another child that goes those, and stays to reap whatever ends in its namespace, until the
// second child does; then it writes so to a pipe and ends, and with it the namespace. The children share the shim's memory (CLONE_VM), which costs less than to copy even a small
// program's page tables; so the plan must be kept until the first child has ended.
type plan struct {
	outer, inner cloneArgs
	first        *steps
	second       *steps // or nil: then the first steps end in exec
	result       int    // where the first child writes how the second ended
	far          int    // of a far order: where the runner is told of the first child; else 0

	// What the kernel writes to, and what is written.
	pidfd  int32
	report int
	failed failure
	status int32
	usage  unix.Rusage
	end    ending
	stacks [2]childStack
}

// failure is what a child tells about the step that failed; second is 1 for those of the second child, whose fork is its step -1.
type failure struct{ second, index, errno int64 }

// ending is how the second child ended.
type ending struct{ status, userNanos, systemNanos, peakKB int64 }

const endingBytes = int(unsafe.Sizeof(ending{}))

// run forks, and returns when the program is executed, or with a *stepError if it could not be. Either way there may be a child, with its pidfd. The first child is a child of this process's
// parent.
func (p *plan) run() (pid, pidfd int, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, -1, err
	}
	defer unix.Close(ends[0])
	p.report = ends[1]
	p.outer.flags |= unix.CLONE_VM | unix.CLONE_PARENT | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND
	p.outer.pidfd = uint64(uintptr(unsafe.Pointer(&p.pidfd)))
	p.stacks[0].prepare(&p.outer, p, firstChild)
	p.inner.flags |= unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_CLEAR_SIGHAND
	p.inner.exitSignal = uint64(unix.SIGCHLD)
	p.stacks[1].prepare(&p.inner, p, secondChild)
	all, old := ^uint64(0), uint64(0)
	// No signal may end a child on its way. Those of the first child stay blocked for good.
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(unix.SIG_SETMASK), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	child, errno := cloned(cloneChild(&p.outer, unsafe.Sizeof(p.outer)))
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(unix.SIG_SETMASK), uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	unix.Close(ends[1])
	if errno != 0 {
		return 0, -1, &stepError{stepFork, errno}
	}
	p.tellBorn(int(child), int(p.pidfd))
	told := (*[unsafe.Sizeof(failure{})]byte)(unsafe.Pointer(new(failure)))
	n, err := readFull(ends[0], told[:])
	failed := (*failure)(unsafe.Pointer(told))
	switch {
	case n == 0 && err == nil:
		return int(child), int(p.pidfd), nil
	case n != len(told):
		return int(child), int(p.pidfd), errors.New("the child ended before it could execute the program")
	}
	return int(child), int(p.pidfd), &stepError{p.nameOf(*failed), syscall.Errno(failed.errno)}
}

const stepFork = "fork"

func (p *plan) nameOf(f failure) string {
	names := p.first.names
	if f.second != 0 {
		names = p.second.names
	}
	if f.index < 0 || f.index >= int64(len(names)) {
		return stepFork
	}
	return names[f.index]
}

// firstChild is where the first child begins, and secondChild the second. They have the memory, and the register that names the goroutine, of a thread that knows nothing of them: so here, and in
// what is called from here, nothing may allocate, grow the stack or be pre-empted.
//
//go:norace
//go:nosplit
func firstChild(p *plan) {
	p.walk(p.first, 0)
	if p.second == nil {
		p.exit()
	}
	pid, errno := cloned(cloneChild(&p.inner, unsafe.Sizeof(p.inner)))
	if errno != 0 {
		p.fail(1, -1, errno)
	}
	p.reap(pid)
}

//go:norace
//go:nosplit
func secondChild(p *plan) {
	p.walk(p.second, 1)
	p.exit()
}

// walk goes the steps, or ends the process.
//
//go:norace
//go:nosplit
func (p *plan) walk(s *steps, second int64) {
	for i := 0; i < len(s.list); i++ {
		one := &s.list[i]
		for k := 0; k < len(one.load); k++ {
			if one.load[k] != nil {
				one.args[k] = *one.load[k]
			}
		}
		for n := uintptr(0); n == 0 || n < one.count; n++ {
			result, _, errno := syscall.RawSyscall6(one.number, one.args[0], one.args[1], one.args[2], one.args[3], one.args[4], one.args[5])
			if errno != 0 && errno != one.may {
				p.fail(second, int64(i), errno)
			}
			if one.save != nil {
				*one.save = result
			}
			if one.count > 0 {
				one.args[one.at]++
			}
		}
	}
}

//go:norace
//go:nosplit
func (p *plan) fail(second, index int64, errno syscall.Errno) {
	p.failed.second, p.failed.index, p.failed.errno = second, index, int64(errno)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(p.report), uintptr(unsafe.Pointer(&p.failed)), unsafe.Sizeof(p.failed))
	p.exit()
}

//go:norace
//go:nosplit
func (p *plan) exit() {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// reap is the life of a namespace's first process.
//
//go:norace
//go:nosplit
func (p *plan) reap(child uintptr) {
	// It holds nothing of the run's but that pipe.
	syscall.RawSyscall(unix.SYS_DUP3, uintptr(p.result), 0, 0)
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 1, uintptr(^uint32(0)), 0)
	for {
		pid, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&p.status)), 0, 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			p.exit()
		}
		if errno == 0 && pid == child && p.status&0xff != 0x7f { // or it has only stopped, and made this process its tracer
			break
		}
	}
	// What the main process has left would die with this one; before it, what it has used is counted as well.
	syscall.RawSyscall(unix.SYS_KILL, ^uintptr(0), uintptr(unix.SIGKILL), 0)
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), 0, 0, 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			break
		}
	}
	syscall.RawSyscall(unix.SYS_GETRUSAGE, ^uintptr(0), uintptr(unsafe.Pointer(&p.usage)), 0) // RUSAGE_CHILDREN
	p.end.status = int64(p.status)
	p.end.userNanos = int64(p.usage.Utime.Sec)*1e9 + int64(p.usage.Utime.Usec)*1e3
	p.end.systemNanos = int64(p.usage.Stime.Sec)*1e9 + int64(p.usage.Stime.Usec)*1e3
	p.end.peakKB = int64(p.usage.Maxrss)
	syscall.RawSyscall(unix.SYS_WRITE, 0, uintptr(unsafe.Pointer(&p.end)), unsafe.Sizeof(p.end))
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
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
