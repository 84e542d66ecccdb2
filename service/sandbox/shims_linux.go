package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of shim: what namespaces it is born in, which is all that must be known before there is an order for it. Its argv[1].
const (
	kindPlain    = "plain"    // none: it sets resource limits
	kindIsolated = "isolated" // standard, and strict with the host's network
	kindOffline  = "offline"  // strict
)

var kindFlags = map[string]uintptr{
	kindPlain:    0,
	kindIsolated: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	kindOffline:  unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
}

// shim is a process that waits for its order, or carries it out.
type shim struct {
	kind  string
	pid   int
	pidfd int
	sock  int
}

// shims starts them. It takes a Go program longer to start than a namespace takes to be made and a program to be executed in it, so while isolated runs come one after the other, one shim of
// their kind waits ready for the next.
type shims struct {
	path string // or empty: then why
	why  string
	null *os.File

	mu     sync.Mutex
	ready  map[string]*shim
	lastAt map[string]time.Time
	closed bool
	idle   *time.Timer
	fill   sync.WaitGroup
}

const (
	// shimsInARow is how soon after another a run must come for the next shim to be made ready.
	shimsInARow = 10 * time.Second
	// shimIdle is how long a ready shim waits.
	shimIdle = 30 * time.Second
	// shimAnswer is how long a shim may take to start a run; a mount may hang on a dead server.
	shimAnswer = 30 * time.Second
)

// findShim finds the program that is the shim: what the configuration says, else runnel-shim beside this program, else this program itself, if its main calls ShimMain.
func findShim(configured string) (path, why string) {
	if configured != "" {
		if err := executable(configured); err != nil {
			return "", fmt.Sprintf("the shim %s: %v", configured, err)
		}
		return configured, ""
	}
	if own, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(own), shimName)
		if executable(beside) == nil {
			return beside, ""
		}
	}
	if shimCalled.Load() {
		return "/proc/self/exe", ""
	}
	return "", "there is no " + shimName + " beside this program, and its main does not call sandbox.ShimMain"
}

// take gives a shim of a kind, a ready one if there is one.
func (s *shims) take(kind string) (one *shim, ready bool, err error) {
	if s.path == "" {
		return nil, false, errors.New(s.why)
	}
	s.mu.Lock()
	one = s.ready[kind]
	delete(s.ready, kind)
	again := time.Since(s.lastAt[kind]) < shimsInARow
	s.lastAt[kind] = time.Now()
	if again && !s.closed {
		s.fill.Go(func() { s.makeReady(kind) })
	}
	s.mu.Unlock()
	if one != nil {
		return one, true, nil
	}
	one, err = s.start(kind)
	return one, false, err
}

func (s *shims) makeReady(kind string) {
	one, err := s.start(kind)
	if err != nil {
		return // the next run will see for itself
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ready[kind] != nil {
		go one.dismiss()
		return
	}
	s.ready[kind] = one
	if s.idle != nil {
		s.idle.Stop()
	}
	s.idle = time.AfterFunc(shimIdle, s.dismissReady)
}

// dismissReady ends those that wait.
func (s *shims) dismissReady() {
	s.mu.Lock()
	waiting := s.ready
	s.ready = map[string]*shim{}
	s.mu.Unlock()
	for _, one := range waiting {
		one.dismiss()
	}
}

func (s *shims) close() {
	s.mu.Lock()
	s.closed = true
	if s.idle != nil {
		s.idle.Stop()
	}
	s.mu.Unlock()
	s.fill.Wait()
	s.dismissReady()
}

// start starts a shim.
func (s *shims) start(kind string) (*shim, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ends[1])
	patience := unix.NsecToTimeval(int64(shimAnswer))
	if err := unix.SetsockoptTimeval(ends[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		unix.Close(ends[0])
		return nil, err
	}
	var pidfd int
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd, Cloneflags: kindFlags[kind]}
	if kind != kindPlain && needUserNamespace() {
		sys.Cloneflags |= unix.CLONE_NEWUSER
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
	null := s.null.Fd()
	pid, err := syscall.ForkExec(s.path, []string{shimName, kind}, &syscall.ProcAttr{
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
		Files: []uintptr{null, null, null, uintptr(ends[1])},
		Sys:   sys,
	})
	if err != nil {
		unix.Close(ends[0])
		if kind != kindPlain && (err == syscall.EPERM || err == syscall.ENOSPC || err == syscall.EINVAL) {
			return nil, plainError{fmt.Sprintf("this host does not let the runner make namespaces (%v)", err), err}
		}
		return nil, err
	}
	return &shim{kind: kind, pid: pid, pidfd: pidfd, sock: ends[0]}, nil
}

// needUserNamespace says whether namespaces are to be had only with a user namespace around them.
func needUserNamespace() bool { return os.Geteuid() != 0 }

// dismiss ends a shim that is not a run's main process and reaps it.
func (s *shim) dismiss() {
	_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0) // it may have ended
	unix.Close(s.sock)
	for {
		fds := []unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			break
		}
	}
	_, _ = unix.Wait4(s.pid, nil, unix.WNOHANG, nil) // where this process adopts orphans, they may have been quicker
	unix.Close(s.pidfd)
}

// give sends the order and waits until the program is executed. An error of the first kind is the shim's, and another may do better; a *toldError is the shim's answer.
func (s *shim) give(o *order, fds []int) error {
	if err := sendAll(s.sock, o.encode(), fds); err != nil {
		return err
	}
	t, err := s.hear()
	if err != nil {
		return err
	}
	if t.kind != toldStarted {
		return &toldError{t.step, syscall.Errno(t.errno)}
	}
	return nil
}

func (s *shim) hear() (told, error) {
	body, fds, err := receiveAll(s.sock)
	closeFDs(fds...)
	if err != nil {
		return told{}, err
	}
	return decodeTold(body)
}

// toldError is why a shim could not start a run.
type toldError struct {
	step  string
	errno syscall.Errno // 0 if the step says it all
}

func (e *toldError) Error() string {
	if e.errno == 0 {
		return e.step
	}
	return e.step + ": " + e.errno.Error()
}

func (e *toldError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}
