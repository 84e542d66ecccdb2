package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A shim is one process beside the runner, of a small program, that forks what can't be forked by syscall.ForkExec: processes with resource limits, and the first processes of isolated runs.
// It is told what to do over sockets:
//
//   - The runner gives it one socket at birth, and over that the end of a pair for each run, with one byte.
//   - Over the run's pair come the order and its descriptors; the answer is that the program is executed, or why not, with the first child's number and pidfd. That child is the runner's child,
//     not the shim's (CLONE_PARENT), so the shim may end without harm, and it does when the runner's socket does.
//   - An isolated run's first child writes to a pipe how the program ended before it ends itself. If it writes nothing, it was killed, and all in its namespace with it.
const (
	shimName = "runnel-shim"
	shimFD   = 3
)

// shimCalled says that this program can be its own shim.
var shimCalled atomic.Bool

// ShimMain makes a program its own shim: called first in main, it returns at once, unless the program was started as a shim, and then it never returns.
func ShimMain() {
	shimCalled.Store(true)
	if len(os.Args) != 1 || os.Args[0] != shimName {
		return
	}
	var stat unix.Stat_t
	if err := unix.Fstat(shimFD, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return
	}
	unix.CloseOnExec(shimFD)
	// Nobody may look into this process, which may have rights that its runs do not have.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	for {
		_, fds, err := receive(shimFD, make([]byte, 1))
		if err != nil || len(fds) != 1 {
			os.Exit(0) // the runner has ended
		}
		go serveOrder(fds[0])
	}
}

// serveOrder takes one order and carries it out.
func serveOrder(sock int) {
	defer unix.Close(sock)
	runtime.LockOSThread() // signals are blocked for a fork on one thread
	defer runtime.UnlockOSThread()
	o, fds, err := receiveOrder(sock)
	defer func() { closeFDs(fds...) }()
	answer := answer{}
	pid, pidfd := 0, -1
	if err == nil {
		pid, pidfd, err = o.carryOut(fds)
	}
	if err != nil {
		answer.fail(err)
	}
	answer.pid = int64(pid)
	var give []int
	if pidfd >= 0 {
		give = []int{pidfd}
		defer unix.Close(pidfd)
	}
	_ = sendAll(sock, answer.encode(), give) // if the runner has ended, so has its interest
}

// carryOut forks.
func (o *order) carryOut(fds []int) (pid, pidfd int, err error) {
	wanted := orderFDs
	if o.hasLeaf {
		wanted++
	}
	if len(fds) != wanted {
		return 0, -1, errOrder
	}
	p := &plan{result: fds[3]}
	stdio, born := [3]int(fds[:3]), &p.outer
	var ruleset *uintptr
	if o.level != None {
		born = &p.inner // the namespace's first process is outside the leaf: it is not the run's, and must outlive the leaf's end to tell of it
		p.first = &steps{}
		if err := o.makeView(p.first); err != nil {
			return 0, -1, err
		}
		p.outer.flags = namespaces(o)
		if o.level == Strict && !o.network {
			if err := p.first.addLoopback(); err != nil {
				return 0, -1, err
			}
		}
		if o.level == Strict {
			if ruleset, err = p.first.addRuleset(slices.Concat(scratchPlaces, o.writable, o.ownDir())); err != nil {
				return 0, -1, err
			}
		}
	}
	last, err := childSteps(o, stdio, ruleset)
	if err != nil {
		return 0, -1, err
	}
	if o.level == None {
		p.first = last
	} else {
		p.second = last
	}
	if o.hasLeaf {
		born.flags |= cloneIntoCgroup
		born.cgroup = uint64(fds[orderFDs])
	}
	return p.run()
}

func namespaces(o *order) uint64 {
	flags := uint64(unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if !o.network {
		flags |= unix.CLONE_NEWNET
	}
	return flags
}

func (o *order) ownDir() []string {
	if o.dir == "" || o.dir == "/" {
		return nil
	}
	return []string{o.dir}
}

// addLoopback turns on the only interface of a new network namespace.
func (s *steps) addLoopback() error {
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("turn on lo: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	s.keep = append(s.keep, request)
	sock := new(uintptr)
	s.add("turn on lo", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).save = sock
	s.add("turn on lo", unix.SYS_IOCTL, sock, unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(request)))
	s.add("turn on lo", unix.SYS_CLOSE, sock)
	return nil
}

// answer is what a shim says about an order. Without a step, the program is executed.
type answer struct {
	pid   int64
	step  string // what failed
	errno int64  // and why, if the step does not say it
}

func (a *answer) fail(err error) {
	var failed *stepError
	var errno syscall.Errno
	a.step = err.Error()
	if errors.As(err, &failed) {
		a.step = failed.step
	}
	if errors.As(err, &errno) {
		a.errno = int64(errno)
		a.step = strings.TrimSuffix(a.step, ": "+errno.Error())
	}
}

func (a *answer) encode() []byte {
	var e encoder
	e.number(a.pid)
	e.text(a.step)
	e.number(a.errno)
	return e.out
}

func decodeAnswer(in []byte) (a answer, err error) {
	d := decoder{in: in}
	a.pid, a.step, a.errno = d.number(), d.text(), d.number()
	if d.bad || len(d.in) > 0 {
		return answer{}, errors.New("the shim's answer is not well-formed")
	}
	return a, nil
}
