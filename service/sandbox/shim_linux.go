package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shimName is a shim's argv[0], and shimFD the descriptor of its socket.
const (
	shimName = "runnel-shim"
	shimFD   = 3
)

// shimCalled says that this program can be its own shim.
var shimCalled atomic.Bool

// ShimMain makes a program its own shim: called first in main, it returns at once, unless the program was started as a shim, and then it never returns.
func ShimMain() {
	shimCalled.Store(true)
	if len(os.Args) != 2 || os.Args[0] != shimName {
		return
	}
	var stat unix.Stat_t
	if err := unix.Fstat(shimFD, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return
	}
	runtime.LockOSThread() // what is made of this thread, the child becomes
	unix.CloseOnExec(shimFD)
	// Nobody may look into this process, which may have rights that the run does not have.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	os.Exit(serveOrder(os.Args[1]))
}

// serveOrder takes one order from the socket, carries it out and tells how it ended.
func serveOrder(kind string) int {
	o, fds, err := receiveOrder(shimFD)
	if err != nil {
		if errors.Is(err, errNoOrder) { // a shim that was not needed
			return 0
		}
		return tellFailed(err)
	}
	child, err := carryOut(o, fds)
	if err != nil {
		return tellFailed(err)
	}
	closeFDs(fds...) // the run's pipes end when the run's processes do
	if err := tell(told{kind: toldStarted}); err != nil {
		return 1
	}
	status := waitFor(child)
	if err := tell(status); err != nil {
		return 1
	}
	if kind == kindPlain { // stay what orphans are children of, until the runner has dealt with them
		_, _ = readFull(shimFD, make([]byte, 1))
	}
	return 0
}

// carryOut makes the run's surroundings and starts it.
func carryOut(o *order, fds []int) (child int, err error) {
	wanted := 3
	if o.hasLeaf {
		wanted++
	}
	if len(fds) != wanted {
		return 0, errOrder
	}
	leaf := -1
	if o.hasLeaf {
		leaf = fds[3]
	}
	ruleset := -1
	if o.level == None {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return 0, fmt.Errorf("become subreaper: %w", err)
		}
	} else {
		if err := o.makeView(); err != nil {
			return 0, err
		}
		if o.level == Strict && !o.network {
			if err := loopbackUp(); err != nil {
				return 0, err
			}
		}
	}
	if o.level == Strict {
		if ruleset, err = newRuleset(slices.Concat(scratchPlaces, o.writable, o.ownDir())); err != nil {
			return 0, err
		}
		defer unix.Close(ruleset)
	}
	s, err := childSteps(o, [3]int(fds[:3]), ruleset)
	if err != nil {
		return 0, err
	}
	child, err = s.fork(leaf)
	runtime.KeepAlive(s)
	return child, err
}

func (o *order) ownDir() []string {
	if o.dir == "" || o.dir == "/" {
		return nil
	}
	return []string{o.dir}
}

// loopbackUp turns on the only interface of a new network namespace.
func loopbackUp() error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("turn on lo: %w", err)
	}
	defer unix.Close(sock)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("turn on lo: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("turn on lo: %w", err)
	}
	return nil
}

// waitFor reaps until the child has ended; orphans are reaped on the way. The usage is that of all.
func waitFor(child int) told {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return told{kind: toldFailed, step: "wait for the process", errno: int64(unix.ECHILD)}
		}
		if pid == child {
			var usage unix.Rusage
			_ = unix.Getrusage(unix.RUSAGE_CHILDREN, &usage) // never fails for these
			return told{kind: toldEnded, status: int64(ws), userNanos: usage.Utime.Nano(), systemNanos: usage.Stime.Nano(), peakKB: int64(usage.Maxrss)}
		}
	}
}

// told is what a shim tells the runner.
type told struct {
	kind                           int64
	step                           string // of toldFailed: what failed
	errno                          int64
	status                         int64 // of toldEnded: the wait status
	userNanos, systemNanos, peakKB int64
}

const (
	toldStarted = iota + 1
	toldFailed
	toldEnded
)

func tellFailed(err error) int {
	t := told{kind: toldFailed, step: err.Error()}
	var failed *stepError
	var errno syscall.Errno
	if errors.As(err, &failed) {
		t.step = failed.step
	}
	if errors.As(err, &errno) {
		t.errno = int64(errno)
		t.step = strings.TrimSuffix(t.step, ": "+errno.Error())
	}
	if tell(t) != nil {
		return 1
	}
	return 0
}

// tell sends one message: its length, and the rest as an order is written.
func tell(t told) error {
	var e encoder
	e.number(t.kind)
	e.text(t.step)
	for _, n := range []int64{t.errno, t.status, t.userNanos, t.systemNanos, t.peakKB} {
		e.number(n)
	}
	return sendAll(shimFD, e.out, nil)
}

func decodeTold(in []byte) (t told, err error) {
	d := decoder{in: in}
	t.kind, t.step = d.number(), d.text()
	for _, n := range []*int64{&t.errno, &t.status, &t.userNanos, &t.systemNanos, &t.peakKB} {
		*n = d.number()
	}
	if d.bad || len(d.in) > 0 {
		return told{}, errors.New("the shim's message is not well-formed")
	}
	return t, nil
}

var errNoOrder = errors.New("no order")

func receiveOrder(sock int) (*order, []int, error) {
	body, fds, err := receiveAll(sock)
	if err != nil {
		return nil, fds, err
	}
	o, err := decodeOrder(body)
	return o, fds, err
}

// sendAll sends a message with its length before it and descriptors beside it.
func sendAll(sock int, body []byte, fds []int) error {
	message := append(unsafe.Slice((*byte)(unsafe.Pointer(&[1]uint32{uint32(len(body))})), 4), body...)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for len(message) > 0 {
		n, err := unix.SendmsgN(sock, message, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		message, rights = message[n:], nil
	}
	return nil
}

// receiveAll receives one. The end before its beginning is errNoOrder.
func receiveAll(sock int) (body []byte, fds []int, err error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(8*4))
	var n, oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, head[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, errNoOrder
	}
	if fds, err = parseRights(oob[:oobn]); err != nil {
		return nil, nil, err
	}
	if rest, err := readFull(sock, head[n:]); err != nil || n+rest != len(head) {
		return nil, fds, errOrder
	}
	size := *(*uint32)(unsafe.Pointer(&head))
	if size > maxOrderBytes {
		return nil, fds, errOrder
	}
	body = make([]byte, size)
	if n, err := readFull(sock, body); err != nil || n != len(body) {
		return nil, fds, errOrder
	}
	return body, fds, nil
}

func parseRights(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

// rlimitList is an order's form of limits.
func rlimitList(limits []Rlimit) (list []int64, err error) {
	for _, one := range limits {
		number, known := rlimitNumbers[one.Resource]
		if !known {
			return nil, errors.New("unknown resource " + strconv.Quote(one.Resource))
		}
		list = append(list, int64(number), int64(min(one.Max, 1<<62)))
	}
	return list, nil
}
