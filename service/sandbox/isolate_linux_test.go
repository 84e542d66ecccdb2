package sandbox_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

var levels = []sandbox.Isolation{sandbox.Standard, sandbox.Strict}

// eachLevel runs a test at each level, held each way, where this host can.
func eachLevel(t *testing.T, test func(t *testing.T, h *sandbox.Host, level sandbox.Isolation)) {
	t.Helper()
	eachLevelHiding(t, nil, test)
}

func eachLevelHiding(t *testing.T, hide []string, test func(t *testing.T, h *sandbox.Host, level sandbox.Isolation)) {
	t.Helper()
	for _, way := range []string{byCgroup, byScan} {
		t.Run(way, func(t *testing.T) {
			h := newHostHiding(t, way, hide)
			facts := h.Probe()
			for _, level := range levels {
				t.Run(level.String(), func(t *testing.T) {
					if why := facts.NoIsolation[level]; why != "" {
						t.Skip(why)
					}
					test(t, h, level)
				})
			}
		})
	}
}

// As root, and as an ordinary user where user namespaces can be had, this host gives both levels: that the tests below ran is seen here.
func TestProbe(t *testing.T) {
	facts := newHost(t, byScan).Probe()
	if _, err := os.Stat("/proc/self/ns/user"); err != nil {
		t.Skip("no user namespaces")
	}
	if os.Getenv("RUNNEL_TEST_NO_NAMESPACES") != "" {
		t.Skip("this machine is known to give no namespaces")
	}
	if len(facts.Isolation) != len(levels) {
		t.Errorf("levels %v, because %v", facts.Isolation, facts.NoIsolation)
	}
}

func TestIsolatedStatusAndOutput(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *sandbox.Host, level sandbox.Isolation) {
		for _, c := range []struct {
			script, out, err, signal string
			code                     int
		}{
			{script: "echo out; echo err >&2; cat; exit 7", out: "out\ninput", err: "err\n", code: 7},
			{script: "kill -9 $$", code: -1, signal: "SIGKILL"},
			{script: "kill -TERM $$", code: -1, signal: "SIGTERM"},
			{script: "kill -ABRT $$", code: -1, signal: "SIGABRT"},
			{script: "echo hi >/dev/stdout; cat /dev/stdin", out: "hi\ninput"},
			{script: `[ $$ != 1 ] && echo $PPID`, out: "1\n"},
			{script: "pwd; echo $HOME", out: "/tmp\n/tmp\n"},
			{script: "mount | grep -c ' /tmp '; touch /tmp/a && ls -A /tmp", out: "1\na\n"},
			{script: "echo $SECRET $GIVEN", out: "given\n"},
			{script: "grep NoNewPrivs /proc/self/status; grep CapBnd /proc/self/status; grep CapEff /proc/self/status",
				out: "NoNewPrivs:\t1\nCapBnd:\t0000000000000000\nCapEff:\t0000000000000000\n"},
			{script: "ls /proc/self/fd | tr '\\n' ' '", out: "0 1 2 3 "},
			{script: "id -u | grep -qx 0 && echo root; echo done", out: "done\n"},
		} {
			params := []string{"GIVEN=given"}
			if os.Geteuid() != 0 {
				params = append(params, "HOME=/tmp")
			}
			status, out := run(t, h, sandbox.Spec{Argv: sh(c.script), Stdin: []byte("input"), Isolation: level, Env: append(os.Environ(), "SECRET=secret"), Params: params})
			if status.ExitCode != c.code || status.SignalName() != c.signal || out[0].String() != c.out || out[1].String() != c.err {
				t.Errorf("%s: got %d %s %q %q, want %d %s %q %q", c.script, status.ExitCode, status.SignalName(), &out[0], &out[1], c.code, c.signal, c.out, c.err)
			}
		}
	})
}

// A failure to set up or to execute is a start error, never an exit code.
func TestIsolatedStartErrors(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *sandbox.Host, level sandbox.Isolation) {
		before := used(t)
		for _, c := range []struct {
			spec sandbox.Spec
			want string
		}{
			{sandbox.Spec{Argv: []string{"no-such-thing"}}, "no such program"},
			{sandbox.Spec{Argv: []string{"true"}, Dir: "/no/dir"}, "no such directory"},
			{sandbox.Spec{Argv: []string{"true"}, ReadOnly: []string{"/no/file"}}, "no such file"},
			{sandbox.Spec{Argv: []string{"true", ids(1 << 20)}}, "arguments too long"},
			{sandbox.Spec{Argv: []string{"true"}, User: "root"}, "root"},
			{sandbox.Spec{Argv: []string{"true"}, User: "no-such-user"}, "no such user"},
		} {
			c.spec.ID, c.spec.Isolation = "r", level
			if c.spec.User == "root" && os.Geteuid() != 0 {
				c.want = "not permitted"
			}
			if _, err := h.Start(c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		}
		if after := used(t); after.descriptors > before.descriptors {
			t.Errorf("before %+v, after %+v", before, after)
		}
		run(t, h, sandbox.Spec{ID: "r", Argv: []string{"true"}, Isolation: level})
	})
}

func TestIsolatedTreesEnd(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *sandbox.Host, level sandbox.Isolation) {
		for _, tree := range trees {
			n := sleeper()
			p := start(t, h, sandbox.Spec{Argv: sh(strings.ReplaceAll(tree.script, "N", n)), Isolation: level})
			var began time.Time
			_, err := p.Pump(func(_ int, data []byte) error {
				if began.IsZero() && strings.Contains(string(data), "ready") {
					began = time.Now()
					p.Terminate(300 * time.Millisecond)
				}
				return nil
			}, nil)
			if took := time.Since(began); err != nil || took > 300*time.Millisecond+slack(time.Second) {
				t.Errorf("%s: %v after %v", tree.name, err, took)
			}
			checkGone(t, h.Facts().Kill, n)
		}
	})
}

// A program that does as it is asked ends by SIGTERM, as it does without isolation.
func TestIsolatedTerminate(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *sandbox.Host, level sandbox.Isolation) {
		p := start(t, h, sandbox.Spec{Argv: sh("echo ready; exec sleep 100"), Isolation: level})
		began := time.Now()
		status, err := p.Pump(func(int, []byte) error { p.Terminate(time.Hour); return nil }, nil)
		if took := time.Since(began); err != nil || status.SignalName() != "SIGTERM" || took > slack(5*time.Second) {
			t.Errorf("got %+v, %v after %v", status, err, took)
		}
	})
}

// A program gets the signals that a fresh one has, whatever its runner was told to ignore.
func TestSignalsAreFresh(t *testing.T) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1)
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP, syscall.SIGUSR1) })
	eachLevel(t, func(t *testing.T, h *sandbox.Host, level sandbox.Isolation) {
		_, out := run(t, h, sandbox.Spec{Argv: []string{"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}, Isolation: level})
		const none = "\t0000000000000000\n"
		if want := "SigBlk:" + none + "SigIgn:" + none; out[0].String() != want {
			t.Errorf("got %q", &out[0])
		}
	})
}

func TestViews(t *testing.T) {
	base := newSite(t)
	dir := base.host
	for name, text := range map[string]string{"file": "text\n", "inner/file": "inner\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{path, filepath.Dir(path)} {
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
	}
	inTmp, err := os.MkdirTemp("/tmp", "rt-view-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(inTmp)
	if err := os.Chmod(inTmp, 0o777); err != nil {
		t.Fatal(err)
	}
	shown := filepath.Join(base.hidden, "shown")
	if err := os.Mkdir(shown, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shown, "text"), []byte("shown\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	eachLevelHiding(t, []string{base.hidden}, func(t *testing.T, h *sandbox.Host, level sandbox.Isolation) {
		cases := []struct {
			name string
			spec sandbox.Spec
			out  string
			only sandbox.Isolation
		}{
			{name: "hidden in /tmp", spec: sandbox.Spec{Argv: sh("ls " + inTmp + " 2>/dev/null || echo hidden")}, out: "hidden\n"},
			{name: "dir in /tmp", spec: sandbox.Spec{Argv: sh("pwd; echo x >made && cat made && rm made"), Dir: inTmp}, out: inTmp + "\nx\n"},
			{name: "read-only in /tmp", spec: sandbox.Spec{Argv: sh("(echo x >" + inTmp + "/y) 2>/dev/null || echo no"), ReadOnly: []string{inTmp}}, out: "no\n"},
			{name: "writable in /tmp", spec: sandbox.Spec{Argv: sh("echo x >" + inTmp + "/z && echo yes; rm " + inTmp + "/z"), Writable: []string{inTmp}}, out: "yes\n"},
			{name: "dir is writable", spec: sandbox.Spec{Argv: sh("cat file inner/file; echo x >made && cat made && rm made"), Dir: dir}, out: "text\ninner\nx\n"},
			{name: "others are not", only: sandbox.Strict, spec: sandbox.Spec{Argv: sh("(echo x >" + dir + "/made) 2>/dev/null || echo no; cat " + dir + "/file")}, out: "no\ntext\n"},
			{name: "scratch", only: sandbox.Strict, spec: sandbox.Spec{Dir: dir, ScratchBytes: 1 << 20,
				Argv: sh("cat file; echo changed >file && rm -r inner && mkdir new && echo x >new/y && cat file new/y; ls; head -c 2000000 /dev/zero >big 2>/dev/null || echo full")},
				out: "text\nchanged\nx\nfile\nnew\nfull\n"},
			{name: "hidden in shown in hidden", spec: sandbox.Spec{Dir: dir, ReadOnly: []string{base.hidden + "/shown"}, ScratchBytes: 1 << 20,
				Argv: sh("cat " + base.hidden + "/shown/text; cat " + base.hidden + "/secret 2>/dev/null || echo hidden; ls " + base.hidden + "/shown 2>/dev/null")}, out: "shown\nhidden\ntext\n"},
			{name: "host's network", only: sandbox.Standard, spec: sandbox.Spec{Argv: sh("readlink /proc/self/ns/net")}, out: link(t, "/proc/self/ns/net") + "\n"},
			{name: "network given back", spec: sandbox.Spec{Argv: sh("readlink /proc/self/ns/net"), Network: true}, out: link(t, "/proc/self/ns/net") + "\n"},
			{name: "no network but lo", only: sandbox.Strict, spec: sandbox.Spec{Argv: sh("grep -c : /proc/net/dev; grep -o lo: /proc/net/dev")}, out: "1\nlo:\n"},
			{name: "pseudo terminals", only: sandbox.Strict, spec: sandbox.Spec{Argv: sh("script -qec 'echo hi' /dev/null | tr -d '\\r'")}, out: "hi\n"},
		}
		for _, c := range cases {
			if c.only != sandbox.None && c.only != level || c.name == "others are not" && strings.HasPrefix(dir, "/var/tmp") {
				continue
			}
			c.spec.Isolation = level
			if _, out := run(t, h, c.spec); out[0].String() != c.out {
				t.Errorf("%s: got %q %q, want %q", c.name, &out[0], &out[1], c.out)
			}
		}
		if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "text\n" {
			t.Errorf("scratch has changed the host's file to %q, %v", text, err)
		}
	})
}

func link(t *testing.T, path string) string {
	to, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRlimits(t *testing.T) {
	eachWay(t, []string{byCgroup, byScan}, func(t *testing.T, h *sandbox.Host) {
		set := limitsOf(t, limits.Text{limits.CPUTime: "1s", limits.FileSize: "1M", limits.OpenFiles: "20", limits.Stack: "4M", limits.Core: "0", limits.Nproc: "500"})
		_, out := run(t, h, sandbox.Spec{Argv: sh("readlink /proc/self/ns/user"), Limits: set})
		if got := strings.TrimSpace(out[0].String()); got != link(t, "/proc/self/ns/user") {
			t.Errorf("a run that is limited and not isolated is in user namespace %s", got)
		}
		for _, level := range append(levels, sandbox.None) {
			_, out := run(t, h, sandbox.Spec{Argv: []string{"bash", "-c", "ulimit -t -f -n -s -c -u | grep -o '[0-9]*$' | tr '\\n' ' '"}, Limits: set, Isolation: level})
			if got := out[0].String(); got != "1 1024 20 4096 0 500 " {
				t.Errorf("%s: limits are %q %q", level, got, &out[1])
			}
			status, _ := run(t, h, sandbox.Spec{Argv: sh("while :; do :; done"), Limits: set, Isolation: level})
			if status.SignalName() != "SIGKILL" && status.SignalName() != "SIGXCPU" {
				t.Errorf("%s: a busy loop ended by %+v", level, status)
			}
			status, _ = run(t, h, sandbox.Spec{Argv: sh("cd /tmp; f=$(mktemp); head -c 2000000 /dev/zero >$f; e=$?; wc -c <$f; rm $f; exit $e"), Limits: set, Isolation: level})
			if status.ExitCode == 0 {
				t.Errorf("%s: wrote more than the limit", level)
			}
		}
		_, err := h.Start(sandbox.Spec{ID: "x", Argv: []string{"no-such-thing"}, Limits: set})
		if err == nil || !strings.Contains(err.Error(), "no such program") {
			t.Errorf("got %v", err)
		}
	})
}

// A limit that this host can't set is refused, and the words say what is missing.
func TestLimitsThatCannotBe(t *testing.T) {
	for _, way := range []string{byCgroup, byScan} {
		h := newHost(t, way)
		has := strings.Join(h.Facts().Controllers, " ")
		for controller, text := range map[string]limits.Text{"pids": {limits.PidsMax: "10"}, "cpu": {limits.CPUWeight: "10"},
			"io": {limits.IOMax: "1:0 rbps=1"}} {
			set := limitsOf(t, text)
			if strings.Contains(has, controller) {
				continue
			}
			_, err := h.Start(sandbox.Spec{ID: "r", Argv: []string{"true"}, Limits: set})
			if err == nil || !strings.Contains(err.Error(), "no "+controller+" controller") {
				t.Errorf("%s: got %v", controller, err)
			}
		}
	}
}

// Runs in a row leave nothing: no process, mount, descriptor or thread, and the shim does not grow.
func TestIsolatedInARow(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 20
	}
	h := newHost(t, byScan)
	if why := h.Probe().NoIsolation[sandbox.Strict]; why != "" {
		t.Skip(why)
	}
	run(t, h, sandbox.Spec{Argv: []string{"true"}, Isolation: sandbox.Strict})
	mounts := count(t, "/proc/self/mountinfo")
	before := used(t)
	for i := range n {
		run(t, h, sandbox.Spec{ID: fmt.Sprint(i), Argv: []string{"true"}, Isolation: levels[i%2]})
	}
	sandbox.Settle(h)
	until(t, fmt.Sprintf("as much is held as before, %+v", before), 20*time.Second, func() bool {
		after := used(t)
		return after.descriptors <= before.descriptors && after.goroutines <= before.goroutines
	})
	// Other packages' tests mount something for a moment, too.
	until(t, fmt.Sprintf("no more than %d mounts", mounts), time.Minute, func() bool { return count(t, "/proc/self/mountinfo") <= mounts })
	if zombies() > 0 {
		t.Errorf("%d zombies", zombies())
	}
}

func count(t *testing.T, path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// The shim may be killed at any time: runs that it started go on, and the next gets another.
func TestShimKilled(t *testing.T) {
	h := newHost(t, byScan)
	if why := h.Probe().NoIsolation[sandbox.Standard]; why != "" {
		t.Skip(why)
	}
	p := start(t, h, sandbox.Spec{Argv: sh("echo ready; read line; exit 3"), Isolation: sandbox.Standard, Stdin: []byte("x\n")})
	sandbox.KillShim(h)
	if status, err := p.Pump(nil, nil); err != nil || status.ExitCode != 3 {
		t.Errorf("got %+v, %v", status, err)
	}
	run(t, h, sandbox.Spec{Argv: []string{"true"}, Isolation: sandbox.Standard})
}

// TestAsOrdinaryUser runs this package's tests again as nobody, if they run as root.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is an ordinary user")
	}
	dir, err := os.MkdirTemp("/var/tmp", "rt-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	copyFile(t, os.Args[0], filepath.Join(dir, "tests"), 0o755)
	if err := os.Mkdir(filepath.Join(dir, "testdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"attack.py", "calls.c"} {
		copyFile(t, filepath.Join("testdata", name), filepath.Join(dir, "testdata", name), 0o644)
	}
	tests := exec.Command(filepath.Join(dir, "tests"), "-test.run", "^(TestProbe|TestIsolated.*|TestViews|TestRlimits|TestEscape|TestAbort.*|TestShimKilled|TestStart.*)$", "-test.v")
	tests.Dir = dir
	tests.Env = []string{"HOME=" + dir, "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + dir}
	tests.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := tests.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "--- PASS"); n < 20 {
		t.Errorf("only %d tests ran\n%s", n, out)
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, mode); err != nil {
		t.Fatal(err)
	}
}
