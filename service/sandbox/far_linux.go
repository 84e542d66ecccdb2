package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/mounts"
)

// A start is far when it has to do with a mount that may hang, because the directory, the program or its interpreter is there. Not one system call is then made there
// by this process: a shim of its own looks at the paths, enters and executes, and is given up when the run ends before that is done. See mounts.Budget for how many may hang.

// farStart is how a far start stands.
type farStart struct {
	mount mounts.Mount
	done  <-chan struct{} // closed when nobody wants it any more
	path  string          // where a program without a slash is searched
}

// farPatience is how long a mount may take to let a program be started.
const farPatience = 30 * time.Second

// farOf finds out whether a start is far, without touching the mount.
func (h *Host) farOf(spec Spec, env []string) *farStart {
	if h.portable || h.shims.path == "" {
		return nil
	}
	table, err := mounts.Now()
	if err != nil || !table.MayHang() {
		return nil
	}
	w := where{table}
	far := &farStart{done: spec.Done, path: defaultPath}
	if path, ok := lookupEnv(env, "PATH"); ok {
		far.path = path
	}
	if spec.Dir != "" && w.isFar(within("", spec.Dir), &far.mount) {
		return far
	}
	if strings.Contains(spec.Argv[0], "/") {
		if w.programIsFar(within(spec.Dir, spec.Argv[0]), &far.mount) {
			return far
		}
		return nil
	}
	for _, entry := range filepath.SplitList(far.path) {
		full := filepath.Join(within(spec.Dir, entry), spec.Argv[0])
		if w.programIsFar(full, &far.mount) {
			return far
		}
		if executable(full) == nil {
			break
		}
	}
	return nil
}

// where tells where paths are.
type where struct{ table *mounts.Table }

func (w where) isFar(path string, found *mounts.Mount) bool {
	m, err := w.table.Find(path)
	if err != nil || !m.MayHang() {
		return false
	}
	*found = m
	return true
}

// maxInterpreters is how many scripts may be each other's interpreters, as the kernel has it.
const maxInterpreters = 5

// programIsFar also says so of a program here whose interpreter is there.
func (w where) programIsFar(path string, found *mounts.Mount) bool {
	for range maxInterpreters {
		if w.isFar(path, found) {
			return true
		}
		if path = interpreterOf(path); path == "" {
			return false
		}
	}
	return false
}

// interpreterOf is what the first line of a script names, or the loader of an ELF program, or nothing. It must be asked only of what is here.
func interpreterOf(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var head [4096]byte
	n, _ := unix.Read(fd, head[:])
	if text, isScript := bytes.CutPrefix(head[:max(n, 0)], []byte("#!")); isScript {
		line, _, _ := bytes.Cut(text[:min(len(text), maxShebang)], []byte("\n"))
		fields := strings.Fields(string(line))
		if len(fields) == 0 || !filepath.IsAbs(fields[0]) {
			return ""
		}
		return fields[0]
	}
	return loaderOf(head[:max(n, 0)])
}

// maxShebang is how much of a script's first line the kernel reads (BINPRM_BUF_SIZE).
const maxShebang = 256

// loaderOf is what loads an ELF program, as the beginning of that names it, or nothing.
func loaderOf(head []byte) string {
	const segmentBytes, interpreter = 56, 3
	if len(head) < 64 || !bytes.HasPrefix(head, []byte("\x7fELF")) {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	is64 := head[4] == 2
	at, size, count := uint64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	if is64 {
		at, size, count = order.Uint64(head[32:]), order.Uint16(head[54:]), order.Uint16(head[56:])
	}
	end := uint64(len(head))
	for ; count > 0 && at < end && end-at >= segmentBytes; at, count = at+uint64(size), count-1 {
		segment := head[at:]
		if order.Uint32(segment) != interpreter {
			continue
		}
		from, length := uint64(order.Uint32(segment[4:])), uint64(order.Uint32(segment[16:]))
		if is64 {
			from, length = order.Uint64(segment[8:]), order.Uint64(segment[32:])
		}
		if from > end || length > end-from {
			return ""
		}
		return strings.TrimRight(string(head[from:from+length]), "\x00")
	}
	return ""
}

// isFar says that Start may wait for a mount.
func (p *Prepared) IsFar() bool { return p.cmd.far != nil }

// forkFar has a shim start the main process.
func (p *Process) forkFar(cmd *command, writers [2]int, leafFD int) error {
	h, far := p.host, cmd.far
	op := fmt.Sprintf("start on %s", far.mount)
	ctx, cancel := context.WithTimeout(context.Background(), farPatience)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-far.done:
			cancel()
		case <-stop:
		}
	}()
	slot, err := h.budget.Enter(ctx, far.mount)
	if err != nil {
		var hangs *mounts.HangingError
		if errors.As(err, &hangs) {
			return startErrorf(op, "%w", hangs)
		}
		return startErrorf(op, "the mount does not answer")
	}
	var result [2]int
	if err := unix.Pipe2(result[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		slot.Leave()
		return explain(cmd, err)
	}
	fds := []int{int(cmd.stdin.Fd()), writers[0], writers[1], result[1]}
	if cmd.order.hasLeaf = leafFD >= 0; cmd.order.hasLeaf {
		fds = append(fds, leafFD)
	}
	p.tree.startTicks = ticksSinceBoot()
	p.started = time.Now()
	call, err := h.shims.ask(cmd.order, fds)
	unix.Close(result[1])
	if err != nil {
		unix.Close(result[0])
		slot.Leave()
		return startErrorf(op, "%w", err)
	}
	return p.awaitFar(ctx, cmd, &farCall{sock: call, slot: slot, result: result[0]})
}

// farCall is an order that a shim is at work on.
type farCall struct {
	sock   *os.File
	slot   *mounts.Slot
	result int
	born   held // once the shim has forked
}

// awaitFar waits until the program is executed, or for as long as it is wanted.
func (p *Process) awaitFar(ctx context.Context, cmd *command, call *farCall) error {
	stop := context.AfterFunc(ctx, func() { _ = call.sock.SetReadDeadline(time.Unix(1, 0)) })
	err := call.hear()
	if !stop() && errors.Is(err, os.ErrDeadlineExceeded) {
		p.giveUpFar(call)
		return startErrorf(fmt.Sprintf("start on %s", cmd.far.mount), "the mount does not answer")
	}
	call.sock.Close()
	call.slot.Leave()
	if err != nil {
		unix.Close(call.result)
		if call.born.pid > 0 {
			endChild(call.born.pid, call.born.pidfd)
		}
		return explainFar(cmd, err)
	}
	p.pid, p.tree.pidfd = call.born.pid, call.born.pidfd
	if cmd.order.level == None {
		unix.Close(call.result)
	} else {
		p.tree.first = &firstProcess{result: call.result}
	}
	p.host.enter(p)
	return nil
}

// hear takes the shim's messages: that it has forked, and then how that went.
func (c *farCall) hear() error {
	var buf [maxAnswer]byte
	for {
		n, fds, err := receiveFrom(c.sock, buf[:])
		if err != nil {
			closeFDs(fds...)
			return err
		}
		a, err := decodeAnswer(buf[:n])
		switch {
		case err != nil:
			closeFDs(fds...)
			return err
		case len(fds) == 1 && c.born.pid == 0:
			c.born = held{pid: int(a.pid), pidfd: fds[0]}
			continue
		}
		closeFDs(fds...)
		switch {
		case a.step != "":
			return &answerError{a.op, a.step, unix.Errno(a.errno)}
		case c.born.pid <= 0:
			return errors.New("the shim's answer is not well-formed")
		}
		return nil
	}
}

// giveUpFar leaves the shim to itself. What it has started is killed, also what it may still start.
func (p *Process) giveUpFar(call *farCall) {
	h, leaf := p.host, p.tree.leaf
	p.tree.leaf = "" // removed when nobody can be born in it any more
	call.slot.GiveUp()
	raw, err := call.sock.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _ = send(int(fd), []byte{1}, nil) }) // not to fork any more
	}
	call.kill()
	_ = call.sock.SetReadDeadline(time.Time{})
	h.leftBehind.run(call.sock, func() {
		err := call.hear()
		call.kill()
		unix.Close(call.result)
		if errors.Is(err, os.ErrClosed) { // this process ends
			return
		}
		ended := func() {
			if leaf != "" {
				h.removeLeaf(p.id, leaf)
			}
			call.slot.Leave()
		}
		if call.born.pid == 0 {
			ended()
			return
		}
		h.leftBehind.add(call.born.pidfd, func() {
			_, _ = unix.Wait4(call.born.pid, nil, unix.WNOHANG, nil)
			ended()
		})
	})
}

func (c *farCall) kill() {
	if c.born.pid > 0 {
		_ = unix.PidfdSendSignal(c.born.pidfd, unix.SIGKILL, nil, 0) // it may have ended
	}
}

// explainFar is explain without another look at the mount.
func explainFar(cmd *command, err error) *StartError {
	answer := &answerError{}
	op := fmt.Sprintf("run %q", cmd.argv[0])
	if !errors.As(err, &answer) {
		return startErrorf(op, "%w", err)
	}
	switch {
	case answer.op != "":
		return &StartError{Op: answer.op, Err: errors.New(answer.step)}
	case answer.step == stepEnter:
		return startErrorf(fmt.Sprintf("enter directory %q", cmd.dir), "%w", answer.errno)
	case answer.step == stepExecute && answer.errno == unix.ENOENT:
		return startErrorf(op, "%w", plainError{"no such interpreter, or it is hidden from the sandbox", answer.errno})
	case answer.step == stepExecute:
		return startErrorf(op, "%w", answer.errno)
	}
	return startErrorf(needOf(cmd.order), "%w", answer)
}
