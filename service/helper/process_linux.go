package helper

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/mounts"
)

// process is a running helper.
type process struct {
	cmd    *exec.Cmd
	socket *os.File
	ended  chan struct{}
}

// start starts a helper. It gets nothing of this program's environment but the
// time zone, and its directory is one that can't hang.
func start() (*process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	socket, theirs := os.NewFile(uintptr(pair[0]), "helper"), os.NewFile(uintptr(pair[1]), "helper")
	defer theirs.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{name}, Env: zone(), ExtraFiles: []*os.File{theirs},
		// Not to be stopped by a terminal's ^C: who asks it decides.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		socket.Close()
		return nil, err
	}
	h := &process{cmd: cmd, socket: socket, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		_ = cmd.Wait() // how a helper ends tells nothing
	}()
	return h, nil
}

func zone() []string {
	if tz, ok := os.LookupEnv("TZ"); ok {
		return []string{"TZ=" + tz}
	}
	return []string{}
}

func (h *process) isAlive() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// ask waits for the answer until ctx ends.
func (h *process) ask(ctx context.Context, request []byte) ([]byte, error) {
	if err := h.socket.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = h.socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := send(h.socket, request); err != nil {
		return nil, err
	}
	return receive(h.socket)
}

// close ends a helper that waits for the next request.
func (h *process) close() { _ = h.socket.Close() }

// giveUp kills a helper. The slot is left when it has ended, which it may not
// before the mount answers.
func (h *process) giveUp(slot *mounts.Slot) {
	h.close()
	_ = h.cmd.Process.Kill()
	slot.GiveUp()
	h.whenEnded(slot.Leave)
}

func (h *process) whenEnded(f func()) {
	go func() {
		<-h.ended
		f()
	}()
}
