package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// The tests here need real controllers, and a machine that nobody would miss: tests/vm/run gives them one.
func needVM(t *testing.T) {
	t.Helper()
	if text, err := os.ReadFile("/proc/cmdline"); err != nil || !slices.Contains(strings.Fields(string(text)), "runnel-vm") {
		t.Skip("runs only in the virtual machine of tests/vm/run")
	}
	for _, dir := range []string{"/var/tmp", "/var/lib", "/run", "/home", "/usr/bin"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

const cgroupMount = "/sys/fs/cgroup"

func vmHost(t *testing.T, root string) *sandbox.Host {
	t.Helper()
	needVM(t)
	h, err := sandbox.Open(sandbox.Config{Prefix: fmt.Sprintf("vm-%d-", time.Now().UnixNano()), CgroupRoot: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestVMControllers(t *testing.T) {
	facts := vmHost(t, "").Probe()
	t.Logf("%+v", facts)
	if got := strings.Join(facts.Controllers, " "); facts.Kill != "cgroup" || got != "cpu io memory pids" && len(facts.Controllers) != 4 {
		t.Errorf("got %+v", facts)
	}
	if len(facts.Isolation) != 2 {
		t.Errorf("isolation %v, because %v", facts.Isolation, facts.NoIsolation)
	}
}

// A run that takes more memory than it may is killed for it as a whole, and that is told from a plain SIGKILL.
func TestVMMemory(t *testing.T) {
	h := vmHost(t, "")
	set := limitsOf(t, limits.Text{limits.MemoryMax: "32M"})
	for _, level := range append(levels, sandbox.None) {
		n := sleeper()
		status, out := run(t, h, sandbox.Spec{Argv: sh("sleep " + n + " & exec /bin/" + filepath.Base(os.Args[0])), Params: []string{"TEST_CHILD=memory"}, Limits: set, Isolation: level})
		if !status.OOM || status.SignalName() != "SIGKILL" || status.PeakMemoryBytes < 30<<20 || status.PeakMemoryBytes > 33<<20 {
			t.Errorf("%s: a memory hog: %+v %q", level, status, &out[1])
		}
		if left := sandbox.HasCmdline(t, n); len(left) > 0 {
			t.Errorf("%s: only a part was killed: %v", level, left)
		}
		status, _ = run(t, h, sandbox.Spec{Argv: sh("kill -9 $$"), Limits: set, Isolation: level})
		if status.OOM || status.SignalName() != "SIGKILL" {
			t.Errorf("%s: a plain SIGKILL: %+v", level, status)
		}
		status, out = run(t, h, sandbox.Spec{Argv: sh("dd if=/dev/zero of=/dev/shm/f bs=1M count=64 2>/dev/null; echo $?; rm -f /dev/shm/f"), Limits: set, Isolation: level})
		if out[0].String() == "0\n" {
			t.Errorf("%s: files in memory are not counted: %+v", level, status)
		}
	}
	status, _ := run(t, h, sandbox.Spec{Argv: sh("exec /bin/" + filepath.Base(os.Args[0])), Params: []string{"TEST_CHILD=allocate", "MIB=16"}, Limits: set})
	if status.OOM || status.ExitCode != 0 || status.PeakMemoryBytes < 16<<20 || status.PeakMemoryBytes > 32<<20 {
		t.Errorf("a run within its limit: %+v", status)
	}
}

func TestVMPids(t *testing.T) {
	h := vmHost(t, "")
	set := limitsOf(t, limits.Text{limits.PidsMax: "20"})
	for _, level := range append(levels, sandbox.None) {
		p := start(t, h, sandbox.Spec{ID: "bomb", Argv: sh("f() { f | f & }; f; while :; do :; done"), Limits: set, Isolation: level})
		most := 0
		leaf, err := filepath.Glob(filepath.Join(cgroupMount, "*-bomb", "cgroup.procs"))
		if err != nil || len(leaf) != 1 {
			t.Fatal(leaf, err)
		}
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			text, _ := os.ReadFile(leaf[0])
			most = max(most, strings.Count(string(text), "\n")) // pids.current is above pids.max for a moment when the kernel refuses one
		}
		p.Kill()
		if _, err := p.Pump(nil, nil); err != nil {
			t.Error(err)
		}
		if most < 10 || most > 20 {
			t.Errorf("%s: %d processes at most, of 20", level, most)
		}
	}
}

func TestVMCPU(t *testing.T) {
	h := vmHost(t, "")
	for _, level := range append(levels, sandbox.None) {
		p := start(t, h, sandbox.Spec{Argv: sh("while :; do :; done & while :; do :; done"), Limits: limitsOf(t, limits.Text{limits.CPUMax: "20000 100000"}), Isolation: level})
		time.AfterFunc(2*time.Second, p.Kill)
		status, err := p.Pump(nil, nil)
		used := status.CPUUser + status.CPUSystem
		if err != nil || used < 100*time.Millisecond || used > 800*time.Millisecond {
			t.Errorf("%s: a fifth of a processor for 2 s was %v, %v", level, used, err)
		}
	}
	if _, err := h.Start(sandbox.Spec{ID: "w", Argv: []string{"true"}, Limits: limitsOf(t, limits.Text{limits.CPUMax: "200 1000", limits.CPUWeight: "10000"})}); err != nil {
		t.Errorf("the contract's own example: %v", err)
	}
}

// The disk of tests/vm/vm -d.
func TestVMIO(t *testing.T) {
	h := vmHost(t, "")
	device, err := os.ReadFile("/sys/class/block/vda/dev")
	if err != nil {
		t.Skip("no disk")
	}
	took := func(set limits.Set) time.Duration {
		began := time.Now()
		status, out := run(t, h, sandbox.Spec{Argv: []string{os.Args[0]}, Params: []string{"TEST_CHILD=write", "FILE=/mnt/d/file"}, Limits: set})
		if status.ExitCode != 0 {
			t.Fatalf("%+v %s", status, &out[1])
		}
		return time.Since(began)
	}
	free := took(nil)
	held := took(limitsOf(t, limits.Text{limits.IOMax: strings.TrimSpace(string(device)) + " wbps=1048576"}))
	if held < 3*time.Second || held < 2*free {
		t.Errorf("4 MiB took %v, and %v at 1 MiB a second", free, held)
	}
}

// All kinds of trees end at the main process's end, leaves are gone, and the kernel has as many cgroups as before.
func TestVMTrees(t *testing.T) {
	h := vmHost(t, "")
	for i := range 100 {
		tree := trees[i%len(trees)]
		n := sleeper()
		level := []sandbox.Isolation{sandbox.None, sandbox.Standard, sandbox.Strict}[i%3]
		p := start(t, h, sandbox.Spec{Argv: sh(strings.ReplaceAll(tree.script, "N", n)), Isolation: level, Limits: limitsOf(t, limits.Text{limits.PidsMax: "100", limits.MemoryMax: "64M"})})
		_, err := p.Pump(func(int, []byte) error { p.Terminate(50 * time.Millisecond); return nil }, nil)
		if err != nil {
			t.Errorf("%s, %s: %v", tree.name, level, err)
		}
		if left := sandbox.HasCmdline(t, n); len(left) > 0 {
			t.Errorf("%s, %s: left alive: %v", tree.name, level, left)
		}
	}
	if left := sandbox.Leaves(t, h); len(left) > 0 {
		t.Errorf("leaves left: %v", left)
	}
}

// A subtree that is this process's alone is taken hold of, as root and as an ordinary user; one with somebody else in it is left as it is.
func TestVMDelegation(t *testing.T) {
	needVM(t)
	for _, c := range []struct {
		name            string
		uid             uint32
		foreign, placed bool
	}{{name: "root"}, {name: "user", uid: 65534}, {name: "foreign", foreign: true}, {name: "placed by systemd", placed: true}, {name: "placed, user", uid: 65534, placed: true}} {
		t.Run(c.name, func(t *testing.T) {
			given := filepath.Join(cgroupMount, "given")
			born := given
			if c.placed {
				born = filepath.Join(given, "runner")
			}
			if err := os.MkdirAll(born, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(cgroupMount, "cgroup.subtree_control"), []byte("+cpu +io +memory +pids"), 0); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{given, born} {
				for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
					if err := os.Chown(filepath.Join(dir, name), int(c.uid), int(c.uid)); err != nil {
						t.Fatal(err)
					}
				}
			}
			dir, err := os.Open(born)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			in := func(argv ...string) *exec.Cmd {
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}}
				return cmd
			}
			if c.foreign {
				other := in("/bin/sleep", "1000")
				if err := other.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", other.Process.Pid)); string(text) != "0::/given\n" {
						t.Errorf("somebody else's process was moved to %q", text)
					}
					_ = other.Process.Kill()
					_ = other.Wait()
				}()
			}
			runner := in("/bin/" + filepath.Base(os.Args[0]))
			runner.Env = []string{"TEST_CHILD=delegated", "PATH=/bin", fmt.Sprint("FOREIGN=", c.foreign)}
			if out, err := runner.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for _, inner := range []string{"runner", ""} {
				until(t, "an empty "+inner, 5*time.Second, func() bool {
					err := os.Remove(filepath.Join(given, inner))
					return err == nil || os.IsNotExist(err) || c.foreign
				})
			}
		})
		_ = os.Remove(filepath.Join(cgroupMount, "given"))
	}
}

// The escape suite's attacks in shell, on another kernel.
func TestVMEscape(t *testing.T) {
	needVM(t)
	escape(t, byCgroup)
}
