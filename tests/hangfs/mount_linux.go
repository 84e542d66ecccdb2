package hangfs

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// FS is a mounted file system with the files "file" ("hello\n") and "program" (a
// shell script that prints "ran") and the empty directory "dir".
type FS struct {
	// Dir is where it is mounted.
	Dir string

	tb     testing.TB
	server *exec.Cmd
	orders io.WriteCloser
	done   *bufio.Reader
}

// Mount mounts one that answers everything until Hang is called. At the end of
// the test every call that hangs there is ended and the mount is gone. The test
// is skipped where mounting isn't allowed.
func Mount(tb testing.TB) *FS {
	tb.Helper()
	return MountAt(tb, tb.TempDir())
}

// MountAt mounts one on a directory.
func MountAt(tb testing.TB, dir string) *FS {
	tb.Helper()
	if !mainCalled {
		tb.Fatal("hangfs: TestMain must call hangfs.Main first")
	}
	if os.Geteuid() != 0 {
		tb.Skip("only root can mount")
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		tb.Skip("no FUSE here: ", err)
	}
	defer device.Close()
	f := &FS{Dir: dir, tb: tb}
	if err := f.start(device); err != nil {
		tb.Fatal("hangfs: ", err)
	}
	tb.Cleanup(f.Release)
	conn, err := device.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	controlErr := conn.Control(func(fd uintptr) {
		err = unix.Mount(mark, dir, "fuse."+mark, unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd))
	})
	if err != nil || controlErr != nil {
		tb.Skip("cannot mount here: ", err, controlErr)
	}
	return f
}

func (f *FS) start(device *os.File) (err error) {
	f.server = &exec.Cmd{Path: "/proc/self/exe", Args: []string{mark, f.Dir}, ExtraFiles: []*os.File{device}, Stderr: os.Stderr}
	// Not to be killed with the test's process group: it still has to unmount.
	f.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if f.orders, err = f.server.StdinPipe(); err != nil {
		return err
	}
	answers, err := f.server.StdoutPipe()
	if err != nil {
		return err
	}
	f.done = bufio.NewReader(answers)
	return f.server.Start()
}

// Hang makes these requests hang from now on, or all of them without any, and
// the others be answered again. What hangs already does so until Release.
func (f *FS) Hang(ops ...Op) {
	f.tb.Helper()
	var words []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if slices.Contains(ops, names[name]) {
			words = append(words, name)
		}
	}
	if len(ops) == 0 {
		words = []string{all}
	}
	f.order(strings.Join(words, " "))
}

// Answer makes every request be answered that comes from now on.
func (f *FS) Answer() {
	f.tb.Helper()
	f.order("")
}

func (f *FS) order(line string) {
	f.tb.Helper()
	if _, err := io.WriteString(f.orders, line+"\n"); err != nil {
		f.tb.Fatal("hangfs: ", err)
	}
	if _, err := f.done.ReadString('\n'); err != nil {
		f.tb.Fatal("hangfs: ", err)
	}
}

// Release ends everything that hangs and unmounts. More than one call is
// harmless.
func (f *FS) Release() {
	if f.server.ProcessState != nil {
		return
	}
	_ = f.server.Process.Kill() // and with it the connection to the kernel
	_ = f.server.Wait()
	_ = unix.Unmount(f.Dir, unix.MNT_DETACH) // where the mount failed, there is none
}
