package maint

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// namedLike runs a process with the name of a time daemon.
func namedLike(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link, args...)
	cmd.Env = append(os.Environ(), childRole+"=daemon")
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewReader(stdout).ReadString('\n')
	stop = func() { stdin.Close(); cmd.Wait() }
	t.Cleanup(stop)
	return stop
}

func withoutDaemon(t *testing.T) {
	t.Helper()
	if name := newKernel().daemon(); name != "" {
		t.Skipf("this machine's clock is kept by %s, so it can't be seen that it isn't", name)
	}
}

func TestDaemonIsLeftInCharge(t *testing.T) {
	withoutDaemon(t)
	for _, name := range []string{"chronyd", "ntpd", "systemd-timesyncd"} {
		for _, test := range []struct {
			off    time.Duration
			status int64
		}{{0, StatusSynchronised}, {10 * time.Second, StatusNotSynchronised}} {
			server := serveTime(t, test.off, nil)
			k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
			stop := namedLike(t, name, "-n")
			query := &pb.ClockQuery{Time: time.Now().Unix(), Sync: true}
			reply, err := maint(k, query)
			if err != nil || reply.Clock.Daemon != name || reply.Clock.Sync.Action != "left to "+name || reply.Clock.Sync.Status != test.status {
				t.Errorf("%s: got %v, %v; want it left in charge with status %d", name, reply, err, test.status)
			}
			m.untouched(t)

			query.Force = true
			reply, err = maint(k, query)
			if err != nil || reply.Clock.Sync.Status != StatusSynchronised || len(m.steps)+len(m.slews) != 1 {
				t.Errorf("%s, forced: got %v, %v; want the clock set", name, reply, err)
			}
			stop()
			if reply, _ := maint(k, &pb.ClockQuery{Time: 1}); reply.Clock.Daemon != name {
				t.Errorf("got daemon %q; want %s remembered, as comparisons are to be quick", reply.Clock.Daemon, name)
			}
			k.daemonAt = k.daemonAt.Add(-2 * daemonFor)
			if reply, _ := maint(k, &pb.ClockQuery{Time: 1}); reply.Clock.Daemon != "" {
				t.Errorf("%s has ended, but got daemon %q", name, reply.Clock.Daemon)
			}
		}
	}
}

// With nobody to ask, a daemon's clock is what the daemon told the kernel.
func TestDaemonsTrackingWithoutServers(t *testing.T) {
	withoutDaemon(t)
	k, m := keeper(t, Config{AllowSet: true})
	namedLike(t, "chronyd")
	for _, want := range []int64{StatusNotSynchronised, StatusSynchronised} {
		reply, err := maint(k, &pb.ClockQuery{Time: time.Now().Unix(), Sync: true})
		if err != nil || reply.Error != "" || reply.Clock.Sync.Status != want {
			t.Errorf("got %v, %v; want status %d", reply, err, want)
		}
		m.state.Status = 0
	}
	m.untouched(t)
}

func TestNotInCharge(t *testing.T) {
	withoutDaemon(t)
	namedLike(t, "chronyd", "-d", "-x") // serves time, but doesn't touch the clock
	namedLike(t, "chronyd2")
	if got := newKernel().daemon(); got != "" {
		t.Errorf("got %q, want nobody in charge", got)
	}
	dead := exec.Command("true")
	dead.Path = filepath.Join(t.TempDir(), "ntpd")
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program `true` here to make a zombie of")
	}
	os.Symlink(program, dead.Path)
	if err := dead.Start(); err != nil {
		t.Fatal(err)
	}
	defer dead.Wait()
	for zombie := false; !zombie; {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(dead.Process.Pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		zombie = bytes.Contains(stat, []byte(") Z "))
	}
	if got := newKernel().daemon(); got != "" {
		t.Errorf("got %q of a zombie, want nobody in charge", got)
	}
}

// The real kernel, asked by somebody who may not set its clock.
func TestWithoutPermission(t *testing.T) {
	server := serveTime(t, time.Minute, nil)
	self, _ := os.Executable()
	child := exec.Command(self)
	if os.Geteuid() == 0 {
		// Somewhere that an ordinary user may read: go test builds under a 0700 directory.
		copied := filepath.Join(openDir(t), "maint.test")
		program, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, program, 0o755); err != nil {
			t.Fatal(err)
		}
		child = exec.Command(copied)
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		child.Dir = "/"
	}
	child.Env = append(os.Environ(), childRole+"=unprivileged", "MAINT_TEST_SERVER="+server.address)
	before := time.Now()
	out, err := child.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if moved := time.Since(before) - time.Now().Round(0).Sub(before.Round(0)); moved.Abs() > 100*time.Millisecond {
		t.Errorf("the clock moved by %v", moved)
	}
}

func openDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "maint")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// syncUnprivileged is the child of TestWithoutPermission. It does nothing unless
// the kernel is sure to refuse.
func syncUnprivileged() int {
	const capSysTime = 1 << 25
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fail("cannot see own capabilities: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok && parseHex(hex)&capSysTime != 0 {
			return fail("this child has CAP_SYS_TIME and would set the clock")
		}
	}
	k := New(Config{Servers: []string{os.Getenv("MAINT_TEST_SERVER")}, AllowSet: true})
	reply, err := maint(k, &pb.ClockQuery{Ntp: true, Sync: true, Force: true})
	const want = "cannot set the clock: this runner has neither root nor CAP_SYS_TIME"
	if err == nil || reply.Error != want || err.Error() != want || reply.Clock.Sync.Status != StatusNotSynchronised || reply.Clock.Diff.Time < 59000 {
		return fail("got %v, %v; want %q, status 1 and the minute's difference", reply, err, want)
	}
	return 0
}

func parseHex(s string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 16, 64)
	if err != nil {
		return ^uint64(0)
	}
	return n
}

func fail(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return 1
}
