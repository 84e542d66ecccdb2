package sandbox

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// waits are for processes that may never end, without a thread for each. Close ends the waiting.
type waits struct {
	mu     sync.Mutex
	closed bool
	files  map[*os.File]struct{}
	work   sync.WaitGroup
}

// add takes a pidfd, and calls ended when its process has ended.
func (w *waits) add(pidfd int, ended func()) {
	_ = unix.SetNonblock(pidfd, true) // or os.NewFile would not give it to the runtime's poller
	file := os.NewFile(uintptr(pidfd), "process")
	w.run(file, func() {
		if awaitReadable(file) {
			ended()
		}
	})
}

// run calls wait, which comes back when the file is closed, and closes it.
func (w *waits) run(file *os.File, wait func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		file.Close()
		return
	}
	if w.files == nil {
		w.files = map[*os.File]struct{}{}
	}
	w.files[file] = struct{}{}
	w.work.Go(func() {
		wait()
		w.mu.Lock()
		delete(w.files, file)
		w.mu.Unlock()
		file.Close()
	})
}

// awaitReadable says whether a descriptor has become readable, and not been closed or too late.
func awaitReadable(file *os.File) bool {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	return err == nil
}

func (w *waits) close() {
	w.mu.Lock()
	w.closed = true
	for file := range w.files {
		file.Close()
	}
	w.mu.Unlock()
	w.work.Wait()
}
