package sandbox_test

import (
	"bytes"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/sandbox"
)

func strictHost(t *testing.T) *sandbox.Host {
	t.Helper()
	h := newHost(t, byScan)
	if why := h.Probe().NoIsolation[sandbox.Strict]; why != "" {
		t.Skip(why)
	}
	return h
}

// A host without overlayfs still gives strict runs their scratch: what they write is theirs and
// forgotten, and what was there is there.
func TestScratchWithoutOverlay(t *testing.T) {
	strictHost(t)
	h := newHost(t, byScan)
	sandbox.WithoutOverlay(h)
	if why := h.Probe().NoIsolation[sandbox.Strict]; why != "" {
		t.Fatal(why)
	}
	if sandbox.Overlay(h) != "" {
		t.Fatal("the probe has not seen that there is no overlay")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"main": "text", "inner/more": "inner"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("main", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	script := "cat main inner/more link && echo new >new && mkdir -p a/b && cat new && (echo x >main) 2>/dev/null && echo changed; head -c 3000000 /dev/zero >big 2>/dev/null || echo full"
	_, out := run(t, h, sandbox.Spec{Argv: sh(script), Dir: dir, ScratchBytes: 2 << 20, Isolation: sandbox.Strict})
	if got := out[0].String(); got != "textinnertextnew\nfull\n" {
		t.Errorf("got %q %q", got, &out[1])
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// shownDir is one that everybody can see, and that no cover hides.
func shownDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "runnel-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A strict run sees nothing of the host's /sys and can connect to no socket file, wherever it is and
// however its name was given.
func TestStrictHidesSysAndSockets(t *testing.T) {
	h := strictHost(t)
	dir := shownDir(t)
	listen := func(name string) {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	listen(filepath.Join(dir, "absolute name"))
	t.Chdir(dir)
	listen("relative")
	_, out := run(t, h, sandbox.Spec{Argv: sh("ls /sys; cd " + dir + " && for s in *; do test -S \"$s\" && echo socket \"$s\"; done; ls"), Isolation: sandbox.Strict})
	if got := out[0].String(); got != "absolute name\nrelative\n" {
		t.Errorf("got %q %q", got, &out[1])
	}
}

// What the runner was given for itself is not given on to its runs; those of strangers wait for others.
func TestPrioritiesAreNotInherited(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to get a better priority again")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ionice", "-c", "3", "nice", "-n", "7", "choom", "-n", "300", "--", self)
	cmd.Env = append(os.Environ(), "TEST_CHILD=special")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		level, got, _ := strings.Cut(strings.TrimSpace(line), " ")
		want := "[0 0 none:"
		if level == "strict" {
			want = "[5 0 none:"
		}
		if !strings.HasPrefix(got, want+" ") {
			t.Errorf("%s: got %s, want %s …", level, got, want)
		}
	}
}

// The leaves of a runner that is gone, and whose name nobody has, are removed by the next one on the
// machine; those of a living one stay, and so does what somebody is in.
func TestLeavesOfRunnersThatAreGone(t *testing.T) {
	h := newHost(t, byCgroup)
	root := sandbox.CgroupDir(h)
	mkdir := func(name string) string {
		path := filepath.Join(root, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
		return path
	}
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	base := "gone-" + rand.Text()[:8]
	owner := mkdir(sandbox.LeafOwner(base+"-", dead.Process.Pid, 1))
	another := mkdir(sandbox.LeafOwner(base+"-", dead.Process.Pid, 2)) // it was killed twice
	one, two := mkdir(base+"-one"), mkdir(base+"-two.compile")
	living := newHost(t, byCgroup)
	p := start(t, living, sandbox.Spec{Argv: []string{"sleep", "1000"}})
	longer := base + "-live-"
	mkdir(sandbox.LeafOwner(longer, os.Getppid(), startOf(t, os.Getppid())))
	other := mkdir(longer + "run")
	if err := h.Sweep(); err != nil {
		t.Fatal(err)
	}
	if there(one) || there(two) || there(owner) || there(another) {
		t.Error("leaves of a runner that is gone are left")
	}
	if !there(other) {
		t.Error("a living runner's leaf was removed")
	}
	if left := sandbox.Leaves(t, living); len(left) != 1 {
		t.Errorf("a living runner in this process has %v", left)
	}
	p.Kill()
	if _, err := p.Pump(nil, nil); err != nil {
		t.Error(err)
	}
}

func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	n, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The runner's session keyring is not that of a run that is kept away from it.
func TestSessionKeyring(t *testing.T) {
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil {
		t.Skipf("no keys here: %v", err)
	}
	own, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(shownDir(t), "program")
	if out, err := exec.Command("cp", exe, self).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h := strictHost(t)
	specs := []sandbox.Spec{{Isolation: sandbox.Standard}}
	if os.Geteuid() == 0 {
		specs = append(specs, sandbox.Spec{User: "nobody"})
	}
	for _, spec := range specs {
		spec.Argv, spec.Params = []string{self}, []string{"TEST_CHILD=keyring"}
		_, out := run(t, h, spec)
		if got := strings.TrimSpace(out[0].String()); got == "" || got == "0" || got == strconv.Itoa(own) {
			t.Errorf("%s %s: keyring %s, the runner's is %d: %s", spec.Isolation, spec.User, got, own, &out[1])
		}
	}
}
