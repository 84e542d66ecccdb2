package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// shims is the runner's side of its shim: it starts one when it is first needed, and another if that one has ended. Where namespaces are to be had only inside a user namespace, there is one in such
// a namespace for isolated runs and one outside for the others, which must not notice anything of that.
type shims struct {
	path string // or empty: then why
	why  string
	null *os.File

	mu      sync.Mutex
	running map[kind]*shim
}

// kind is what a shim is for: whether it is in a user namespace, and whether it may hang.
type kind struct{ users, far bool }

// shim is a running one.
type shim struct{ pid, pidfd, sock int }

// shimAnswer is how long a shim may take to start a run, in seconds; a mount may hang on a dead server.
const shimAnswer = 30

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

// held is a first child: this process's own, though a shim forked it.
type held struct{ pid, pidfd int }

// carry has an order carried out and returns the first child. An error of the shim's is an *answerError.
func (s *shims) carry(o *order, fds []int) (held, error) {
	sock, err := s.order(o, fds, 0)
	if err != nil {
		return held{}, err
	}
	defer unix.Close(sock)
	return hear(sock)
}

// ask has a far order carried out. The answers come from a file that does not block.
func (s *shims) ask(o *order, fds []int) (*os.File, error) {
	sock, err := s.order(o, fds, unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(sock), "far start"), nil
}

// order gives an order to a shim and returns where its answer comes.
func (s *shims) order(o *order, fds []int, flags int) (sock int, err error) {
	message, file, err := packOrder(o)
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return -1, err
	}
	fds = append([]int{pair[1]}, fds...)
	if file != nil {
		defer file.Close()
		fds = append(fds, int(file.Fd()))
	}
	err = s.give(kind{o.users, o.far}, message, fds)
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return -1, err
	}
	return pair[0], nil
}

// hear waits for the answer.
func hear(sock int) (held, error) {
	patience := unix.Timeval{Sec: shimAnswer}
	if err := unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return held{}, err
	}
	var buf [maxAnswer]byte
	n, got, err := receive(sock, buf[:])
	if err != nil {
		closeFDs(got...)
		return held{}, fmt.Errorf("no answer from the shim: %w", err)
	}
	a, err := decodeAnswer(buf[:n])
	child := held{pid: int(a.pid), pidfd: -1}
	if len(got) > 0 {
		child.pidfd = got[0]
	}
	if err == nil && a.step != "" {
		err = &answerError{a.op, a.step, syscall.Errno(a.errno)}
	}
	if err == nil && (child.pid <= 0 || child.pidfd < 0) {
		err = errors.New("the shim's answer is not well-formed")
	}
	if err != nil && child.pid > 0 && child.pidfd >= 0 {
		endChild(child.pid, child.pidfd)
	}
	return child, err
}

// endChild kills and reaps a child that is not to be.
func endChild(pid, pidfd int) {
	_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // it may have ended
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			break
		}
	}
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // where this process adopts orphans, the reaper may have been quicker
	unix.Close(pidfd)
}

// give gives a shim an order; a shim that has ended is replaced.
func (s *shims) give(of kind, message []byte, fds []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return errors.New(s.why)
	}
	if one := s.running[of]; one != nil {
		if err := send(one.sock, message, fds); err == nil {
			return nil
		}
		one.end()
		delete(s.running, of)
	}
	one, err := s.start(of.users)
	if err != nil {
		return err
	}
	s.running[of] = one
	return send(one.sock, message, fds)
}

func (s *shims) start(users bool) (*shim, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	var pidfd int
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if users {
		sys.Cloneflags = unix.CLONE_NEWUSER
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// To keep through exec what the namespace's owner has.
		sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER}
	}
	null := s.null.Fd()
	attr := &syscall.ProcAttr{Files: []uintptr{null, null, null, uintptr(pair[1])}, Sys: sys}
	pid, err := syscall.ForkExec(s.path, []string{shimName}, attr)
	if err != nil {
		unix.Close(pair[0])
		if users {
			return nil, plainError{fmt.Sprintf("this host does not let an ordinary user make namespaces (%v)", err), err}
		}
		return nil, err
	}
	return &shim{pid, pidfd, pair[0]}, nil
}

func (s *shim) end() {
	unix.Close(s.sock)
	_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0) // it may have ended
	waitPidfd(s.pidfd, stuckAfter/2)                        // one that hangs ends when its mount does
	_, _ = unix.Wait4(s.pid, nil, unix.WNOHANG, nil)
}

func (s *shims) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.running {
		one.end()
	}
	clear(s.running)
}

// isShimLike says whether a process executes the shim's program: it is the shim, or what the shim forked.
func (s *shims) isShimLike(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.running {
		if sameProgram(pid, one.pid) {
			return true
		}
	}
	return false
}

// needUserNamespace says whether namespaces are to be had only with a user namespace around them.
func needUserNamespace() bool { return os.Geteuid() != 0 }

// answerError is why a shim could not start a run.
type answerError struct {
	op    string // of a start error that needs no more words
	step  string
	errno syscall.Errno // 0 if the step says it all
}

func (e *answerError) Error() string {
	if e.errno == 0 {
		return e.step
	}
	return e.step + ": " + e.errno.Error()
}

func (e *answerError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}
