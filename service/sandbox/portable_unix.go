//go:build unix

package sandbox

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawnPortable forks with what every unix has: a session and two pipes.
func (h *Host) spawnPortable(cmd *command) (*Process, error) {
	if cmd.order != nil {
		return nil, startErrorf("isolate or limit", "only Linux can")
	}
	if err := h.claim(cmd.id); err != nil {
		return nil, startErrorf("start", "%w", err)
	}
	p := &Process{host: h, id: cmd.id, mark: cmd.mark, pipes: [2]int{-1, -1}}
	writers := [2]int{-1, -1}
	err := p.forkPortable(cmd, &writers)
	for _, fd := range writers {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if err != nil {
		p.closePipes()
		h.leave(cmd.id)
		return nil, explain(cmd, err)
	}
	h.enter(p)
	return p, nil
}

func (p *Process) forkPortable(cmd *command, writers *[2]int) error {
	for i := range p.pipes {
		var err error
		if i == 1 && cmd.merge {
			writers[1], err = unix.Dup(writers[0])
			unix.CloseOnExec(writers[1])
			return p.execPortable(cmd, writers, err)
		}
		if p.pipes[i], writers[i], err = pipe(); err != nil {
			return err
		}
		if cmd.who.cred != nil {
			_ = unix.Fchown(writers[i], cmd.who.uid, cmd.who.gid)
		}
	}
	return p.execPortable(cmd, writers, nil)
}

func (p *Process) execPortable(cmd *command, writers *[2]int, err error) error {
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{Dir: cmd.dir, Env: cmd.env, Sys: &syscall.SysProcAttr{Setsid: true, Credential: cmd.who.cred},
		Files: []uintptr{cmd.stdin.Fd(), uintptr(writers[0]), uintptr(writers[1])}}
	p.started = time.Now()
	pid, err := forkExec(cmd, attr)
	p.pid = pid
	return err
}

// pipe makes a pipe that no child inherits, with a read end for the Go runtime's poller.
func pipe() (reader, writer int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		return -1, -1, err
	}
	syscall.CloseOnExec(ends[0])
	syscall.CloseOnExec(ends[1])
	if err := syscall.SetNonblock(ends[0], true); err != nil {
		return ends[0], ends[1], err
	}
	return ends[0], ends[1], nil
}

func (p *Process) closePipes() {
	for i, fd := range p.pipes {
		if fd >= 0 {
			unix.Close(fd)
			p.pipes[i] = -1
		}
	}
}

// chunk is what one read gave; it is given back through taken.
type chunk struct {
	stream int
	data   []byte
}

// pumpPortable is Pump with a goroutine for each pipe and one, with its thread, for the end of the main process.
func (p *Process) pumpPortable(out func(stream int, data []byte) error, quiet func(idle bool) bool) (Status, error) {
	chunks, taken, files := p.readPipes()
	type ending struct {
		status Status
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		status, err := p.waitPortable()
		ended <- ending{status, err}
	}()

	var outErr error
	var end ending
	var s silence
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for chunks != nil || ended != nil {
		select {
		case one, more := <-chunks:
			if !more {
				chunks = nil
				continue
			}
			if out != nil && outErr == nil {
				if outErr = out(one.stream, one.data); outErr != nil {
					p.Kill()
				}
			}
			taken[one.stream] <- struct{}{}
			s.heard()
			due.Reset(time.Until(s.due))
		case <-due.C:
			s.tell(quiet)
			if !s.due.IsZero() {
				due.Reset(time.Until(s.due))
			}
		case end = <-ended:
			ended = nil
			// What left the group and holds a pipe is not found here; its pipe is not waited for longer than this.
			for _, file := range files {
				_ = file.SetReadDeadline(time.Now().Add(drainWait))
			}
		}
	}
	for _, file := range files {
		file.Close()
	}
	p.host.leave(p.id)
	if outErr != nil {
		return end.status, outErr
	}
	return end.status, end.err
}

// readPipes begins to read both pipes. chunks is closed when both are at their
// ends; the next chunk of a stream is read when the last one was taken.
func (p *Process) readPipes() (chunks chan chunk, taken [2]chan struct{}, files [2]*os.File) {
	var readers sync.WaitGroup
	chunks, taken = make(chan chunk), [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	for stream, fd := range p.pipes {
		if fd < 0 {
			continue
		}
		files[stream] = os.NewFile(uintptr(fd), "output")
		p.pipes[stream] = -1
		readers.Go(func() { readPipe(files[stream], stream, chunks, taken[stream]) })
	}
	go func() {
		readers.Wait()
		close(chunks)
	}()
	return chunks, taken, files
}

// drainWait is how long pipes are read after the group was killed.
const drainWait = 200 * time.Millisecond

func readPipe(file *os.File, stream int, chunks chan<- chunk, taken <-chan struct{}) {
	buf := make([]byte, minBuffer)
	for {
		n, err := file.Read(buf)
		if n > 0 {
			chunks <- chunk{stream, buf[:n]}
			<-taken
			if n == len(buf) && n < maxBuffer {
				buf = make([]byte, 2*n)
			}
		}
		if err != nil {
			return
		}
	}
}

// waitPortable reaps the main process and kills its group at once after: while somebody is left in the group its number is not used again.
func (p *Process) waitPortable() (Status, error) {
	var ws unix.WaitStatus
	var usage unix.Rusage
	for {
		_, err := unix.Wait4(p.pid, &ws, 0, &usage)
		if err == unix.EINTR {
			continue
		}
		_ = unix.Kill(-p.pid, unix.SIGKILL)
		p.retire()
		if err != nil {
			return Status{ExitCode: -1}, fmt.Errorf("cannot tell how run %s ended: %w", p.id, err)
		}
		return statusOf(ws, usage), nil
	}
}
