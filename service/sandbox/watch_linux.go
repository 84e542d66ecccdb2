package sandbox

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watch waits for pipes and a pidfd at once without a thread: they are in an epoll set, and that set's own descriptor is in the Go runtime's.
type watch struct {
	fd     int // owned by file
	file   *os.File
	raw    syscall.RawConn
	events [4]unix.EpollEvent

	mu    sync.Mutex // guards the deadline
	woken bool
}

// What an event is of: the two pipes are their stream's number.
const (
	eventEnded = 2
	eventTold  = 3 // by a namespace's first process
)

func newWatch() (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile would not give it to the runtime
		unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "run")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &watch{fd: fd, file: file, raw: raw}, nil
}

// add takes descriptors in, those that are there; the event of each has its place in the list in Fd.
func (w *watch) add(fds ...int) error {
	for i, fd := range fds {
		if fd < 0 {
			continue
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return err
		}
	}
	return nil
}

// remove takes one out. Closing it would not do: a fork that has not reached its exec has a copy.
func (w *watch) remove(fd int) { _ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// wake makes wait return, now and from now on.
func (w *watch) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = true
	_ = w.file.SetReadDeadline(time.Unix(1, 0)) // fails once it is closed
}

func (w *watch) isWoken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.woken
}

func (w *watch) setDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.woken {
		return nil
	}
	return w.file.SetReadDeadline(t)
}

// wait returns at least one event, or none if nothing happened for the given time; 0 means wait for as long as it takes.
func (w *watch) wait(patience time.Duration) ([]unix.EpollEvent, error) {
	n, err := w.ready()
	if n != 0 || err != nil {
		return w.events[:n], err
	}
	if patience > 0 {
		if err := w.setDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		defer func() { _ = w.setDeadline(time.Time{}) }()
	}
	var readyErr error
	err = w.raw.Read(func(uintptr) bool {
		n, readyErr = w.ready()
		return n != 0 || readyErr != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil
	}
	if err == nil {
		err = readyErr
	}
	return w.events[:n], err
}

func (w *watch) ready() (n int, err error) {
	for {
		n, err = unix.EpollWait(w.fd, w.events[:], 0)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (w *watch) close() { w.file.Close() }
