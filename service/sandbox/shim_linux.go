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
// It is told what to do over a socket whose messages are an order each, with its descriptors and one end of a pair for the answer: that the program is executed, or why not, with the first
// child's number and pidfd. That child is the runner's child, not the shim's (CLONE_PARENT), so the shim may end without harm, and it does when the runner's socket does. An isolated run's first
// child writes to a pipe how the program ended before it ends itself; if it writes nothing, it was killed, and all in its namespace with it.
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
	forgetOOMScore()
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	var idle atomic.Int32
	go takeOrders(&idle)
	select {} // takeOrders ends the process
}

// takeOrders takes one order after the other, and sees to it that somebody else waits for the next one meanwhile: a run whose surroundings hang, on a dead server's file system, must not keep
// others waiting.
func takeOrders(idle *atomic.Int32) {
	buf := make([]byte, inlineOrder+1)
	for {
		idle.Add(1)
		n, fds, err := receive(shimFD, buf)
		if err != nil {
			os.Exit(0) // the runner has ended
		}
		if idle.Add(-1) == 0 {
			go takeOrders(idle)
		}
		if len(fds) > 0 {
			serveOrder(buf[:n], fds)
		}
		if idle.Load() > 1 {
			return
		}
	}
}

// serveOrder carries one order out; the first descriptor is for the answer.
func serveOrder(message []byte, fds []int) {
	defer func() { closeFDs(fds...) }()
	o, fds, err := openOrder(message, fds)
	answer, p := answer{}, &plan{}
	pid, pidfd := 0, -1
	if err == nil && o.far {
		p.far = fds[0]
		err = o.resolve()
		if isUnwanted(p.far) {
			return
		}
	}
	if err == nil {
		pid, pidfd, err = p.carryOut(o, fds[1:])
	}
	if err != nil {
		answer.fail(err)
	}
	answer.pid = int64(pid)
	var give []int
	if pidfd >= 0 && p.far == 0 {
		give = []int{pidfd}
	}
	_ = send(fds[0], answer.encode(), give) // if the runner has ended, so has its interest
	if pidfd >= 0 {
		go p.keep(pidfd)
	}
}

// keep keeps the plan until the first child, which lives in it, has ended.
func (p *plan) keep(pidfd int) {
	waitPidfd(pidfd, 0)
	runtime.KeepAlive(p)
}

// carryOut makes the steps and forks.
func (p *plan) carryOut(o *order, fds []int) (pid, pidfd int, err error) {
	wanted := orderFDs
	if o.hasLeaf {
		wanted++
	}
	if len(fds) != wanted {
		return 0, -1, errOrder
	}
	p.result = fds[3]
	stdio, born := [3]int(fds[:3]), &p.outer
	var ruleset *uintptr
	if o.level != None {
		born = &p.inner // the namespace's first process is outside the leaf: it is not the run's, and must outlive the leaf's end to tell of it
		p.first = &steps{}
		p.first.add("close", unix.SYS_CLOSE, shimFD) // or the runner would not see the end of a shim that has ended
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
	runtime.LockOSThread() // signals are blocked for a fork on one thread
	defer runtime.UnlockOSThread()
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
	op    string // of a start error that needs no more words
	step  string // what failed
	errno int64  // and why, if the step does not say it
}

func (a *answer) fail(err error) {
	var failed *stepError
	var errno syscall.Errno
	var start *StartError
	if errors.As(err, &start) {
		a.op, a.step = start.Op, start.Err.Error()
		return
	}
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
	e.text(a.op[:min(len(a.op), maxAnswer/4)])
	e.text(a.step[:min(len(a.step), maxAnswer/2)])
	e.number(a.errno)
	return e.out
}

func decodeAnswer(in []byte) (a answer, err error) {
	d := decoder{in: in}
	a.pid, a.op, a.step, a.errno = d.number(), d.text(), d.text(), d.number()
	if d.bad || len(d.in) > 0 {
		return answer{}, errors.New("the shim's answer is not well-formed")
	}
	return a, nil
}
