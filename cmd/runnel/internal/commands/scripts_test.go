package commands

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/serve"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/hangfs"
)

// The command line is tested by the scripts in testdata. The test binary is the
// command.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	glance.HelperMain()
	hangfs.Main()
	testscript.Main(m, map[string]func(){"runnel": Main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "home", "data"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "home", "config"))
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			env.Values["served"] = &served{}
			return os.MkdirAll(filepath.Join(env.WorkDir, "tmp"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   serveInScript,
			"quit":    stopInScript,
			"signal":  signalInScript,
			"ends":    endsInScript,
			"exits":   exitsWith,
			"until":   untilInScript,
			"untouch": untouched,
			"mode":    fileMode,
		},
		RequireExplicitExec: true,
	})
}

// served is the `runnel serve` of a script.
type served struct {
	cmd   *exec.Cmd
	lines chan string
}

// serveInScript starts `runnel serve` with the arguments, on any free port, and
// waits until it is ready.
func serveInScript(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("served").(*served)
	if !strings.Contains(strings.Join(args, " "), "--server") {
		args = append([]string{"--listen", "127.0.0.1:0"}, args...)
	}
	path, err := exec.LookPath("runnel") // testscript has put us there
	ts.Check(err)
	s.cmd = exec.Command(path, append([]string{"serve"}, args...)...)
	s.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "TMPDIR", "PATH", "NATS_URL", "NATS_NKEY"} {
		s.cmd.Env = append(s.cmd.Env, name+"="+ts.Getenv(name))
	}
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	s.lines = make(chan string, 1000)
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	for line := range s.lines {
		ts.Logf("serve: %s", line)
		if strings.Contains(line, serve.ReadyMark) {
			return
		}
	}
	ts.Fatalf("runnel serve ended before it was ready")
}

// stopInScript sends the server SIGTERM and checks that it exits with 0 in time.
func stopInScript(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value("served").(*served)
	began := time.Now()
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	endsInScript(ts, false, nil)
	if took := time.Since(began); took > time.Minute {
		ts.Fatalf("runnel serve took %v to end", took)
	}
}

// endsInScript waits until the server has ended by itself, with 0.
func endsInScript(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value("served").(*served)
	for line := range s.lines {
		ts.Logf("serve: %s", line)
	}
	ts.Check(s.cmd.Wait())
}

// signalInScript sends the server a signal: signal HUP. After KILL it is gone.
func signalInScript(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("served").(*served)
	number := map[string]syscall.Signal{"HUP": 1, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15}[args[0]]
	if number == 0 {
		ts.Fatalf("no signal %s here", args[0])
	}
	ts.Check(s.cmd.Process.Signal(number))
	if args[0] == "KILL" {
		s.cmd.Wait()
	}
}

// untilInScript runs a program until its standard output has a text: until
// env=test runnel ls.
func untilInScript(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q never said %q: %v", args[1:], args[0], err)
		}
	}
}

// exitsWith runs a program and checks its exit code: exits 3 runnel run …
func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("cannot run %q: %v", args[1:], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%q: exit code %d, want %d", args[1:], got, want)
	}
}

// untouched checks that there is nothing in a directory, if there is one.
func untouched(ts *testscript.TestScript, _ bool, args []string) {
	for _, arg := range args {
		entries, err := os.ReadDir(ts.MkAbs(arg))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			ts.Check(err)
		}
		if len(entries) > 0 {
			ts.Fatalf("%s has %v", arg, entries)
		}
	}
}

// fileMode checks the mode of files: mode 600 FILE...
func fileMode(ts *testscript.TestScript, _ bool, args []string) {
	for _, arg := range args[1:] {
		info, err := os.Stat(ts.MkAbs(arg))
		ts.Check(err)
		if got := strings.TrimLeft(strings.ToLower(octal(info.Mode().Perm())), "0"); got != args[0] {
			ts.Fatalf("mode of %s: got %s, want %s", arg, got, args[0])
		}
	}
}

func octal(mode fs.FileMode) string {
	const digits = "01234567"
	return string([]byte{digits[mode>>6&7], digits[mode>>3&7], digits[mode&7]})
}

// -h of every command exits 0 at once and touches nothing, whatever the
// environment says.
func TestHelpTouchesNothing(t *testing.T) {
	home := newHome(t)
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	t.Setenv("NATS_TIMEOUT", "nonsense")
	var try func(*cobra.Command, []string)
	try = func(cmd *cobra.Command, path []string) {
		out, errOut, err := runnel(t, append(path, "-h")...)
		if err != nil || out == "" || errOut != "" {
			t.Errorf("%q -h: got %v and %q on standard error", path, err, errOut)
		}
		for _, sub := range cmd.Commands() {
			try(sub, append(path[:len(path):len(path)], sub.Name()))
		}
	}
	try(newRoot(app.New(app.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})), nil)
	if left := must(os.ReadDir(home))(t); len(left) > 0 {
		t.Errorf("left in the home: %v", left)
	}
}

// Help is for a terminal of 80 columns, and begins with a sentence and examples.
func TestHelpOfEveryCommand(t *testing.T) {
	root := newRoot(app.New(app.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}))
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		var out strings.Builder
		cli.WriteHelp(&out, cmd)
		text := out.String()
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > cli.HelpWidth {
				t.Errorf("%s: a line of %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		if cmd.Example == "" || cmd.Short == "" || !strings.Contains(text, "Usage: "+cmd.CommandPath()) {
			t.Errorf("%s: help lacks a sentence, examples or usage:\n%s", cmd.CommandPath(), text)
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the sentence ends with a full stop: %s", cmd.CommandPath(), cmd.Short)
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(root)
}
