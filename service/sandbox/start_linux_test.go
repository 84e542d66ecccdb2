package sandbox_test

import (
	"bytes"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/runnel-io/runnel/service/sandbox"
)

func TestStatusOutputAndInput(t *testing.T) {
	cases := []struct {
		name     string
		spec     sandbox.Spec
		code     int
		signal   string
		out, err string
	}{
		{name: "nothing", spec: sandbox.Spec{Argv: []string{"true"}}},
		{name: "code", spec: sandbox.Spec{Argv: sh("exit 7")}, code: 7},
		{name: "code 255", spec: sandbox.Spec{Argv: sh("exit 255")}, code: 255},
		{name: "own signal", spec: sandbox.Spec{Argv: sh("kill -9 $$")}, code: -1, signal: "SIGKILL"},
		{name: "own SIGTERM", spec: sandbox.Spec{Argv: sh("kill -TERM $$")}, code: -1, signal: "SIGTERM"},
		{name: "both streams", spec: sandbox.Spec{Argv: sh("echo out; echo err >&2; printf tail")}, out: "out\ntail", err: "err\n"},
		{name: "exact arguments", spec: sandbox.Spec{Argv: []string{"printf", "%s|", "a   b", "", "$HOME", "*"}}, out: "a   b||$HOME|*|"},
		{name: "no input", spec: sandbox.Spec{Argv: []string{"cat"}}},
		{name: "input", spec: sandbox.Spec{Argv: []string{"cat"}, Stdin: []byte("in\x00put")}, out: "in\x00put"},
		{name: "input by name", spec: sandbox.Spec{Argv: sh("cat /dev/stdin"), Stdin: []byte("input")}, out: "input"},
		{name: "directory", spec: sandbox.Spec{Argv: []string{"pwd"}, Dir: "/usr"}, out: "/usr\n"},
		{name: "program in the directory", spec: sandbox.Spec{Argv: []string{"./sh", "-c", "echo hi"}, Dir: "/bin"}, out: "hi\n"},
		{name: "relative PATH", spec: sandbox.Spec{Argv: []string{"sh", "-c", "echo hi"}, Dir: "/", Env: []string{"PATH=bin"}}, out: "hi\n"},
		{name: "no PATH", spec: sandbox.Spec{Argv: []string{"sh", "-c", "echo hi"}, Env: []string{}}, out: "hi\n"},
		{name: "last variable wins", spec: sandbox.Spec{Argv: sh("echo $A $B"), Env: []string{"A=1", "B=1", "A=2"}, Params: []string{"B=3"}}, out: "2 3\n"},
		{name: "own session and group", spec: sandbox.Spec{Argv: sh(`read -r _ _ _ _ g s _ </proc/$$/stat; [ $g = $$ ] && [ $s = $$ ] && echo own`)}, out: "own\n"},
		{name: "opens its own output", spec: sandbox.Spec{Argv: sh("echo hi >/dev/stdout; echo ho >/dev/stderr")}, out: "hi\n", err: "ho\n"},
		{name: "no descriptors but three", spec: sandbox.Spec{Argv: sh("ls /proc/self/fd | tr '\\n' ' '")}, out: "0 1 2 3 "}, // 3 is ls's own
	}
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				status, out := run(t, h, c.spec)
				if status.ExitCode != c.code || status.SignalName() != c.signal {
					t.Errorf("got code %d signal %q, want %d %q", status.ExitCode, status.SignalName(), c.code, c.signal)
				}
				if got := out[0].String(); got != c.out {
					t.Errorf("standard output is %q, want %q", got, c.out)
				}
				if got := out[1].String(); got != c.err {
					t.Errorf("standard error is %q, want %q", got, c.err)
				}
			})
		}
	})
}

func TestStartErrorsSayWhat(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "echo hi\n", 0o644)
	write("noline", "echo hi\n", 0o755)
	orphan := write("orphan", "#!/no/such/interpreter\n", 0o755)
	many := make([]string, 3000)
	for i := range many {
		many[i] = ids(1000)
	}
	cases := []struct {
		name string
		spec sandbox.Spec
		want []string // parts of the message
		is   error
	}{
		{"nothing", sandbox.Spec{}, []string{"no program given"}, nil},
		{"no such program", sandbox.Spec{Argv: []string{"no-such-thing"}}, []string{`"no-such-thing"`, "no such program in $PATH"}, os.ErrNotExist},
		{"no such file", sandbox.Spec{Argv: []string{"/no/such"}}, []string{`"/no/such"`, "no such program"}, os.ErrNotExist},
		{"no such file in dir", sandbox.Spec{Argv: []string{"./such"}, Dir: dir}, []string{`"./such"`, "no such program"}, os.ErrNotExist},
		{"no such directory", sandbox.Spec{Argv: []string{"true"}, Dir: "/no/dir"}, []string{`"/no/dir"`, "no such directory"}, os.ErrNotExist},
		{"directory is a file", sandbox.Spec{Argv: []string{"true"}, Dir: plain}, []string{plain, "not a directory"}, nil},
		{"program is a directory", sandbox.Spec{Argv: []string{"/usr"}}, []string{`"/usr"`, "it is a directory"}, nil},
		{"not executable", sandbox.Spec{Argv: []string{plain}}, []string{plain, "permission denied"}, os.ErrPermission},
		{"not executable in PATH", sandbox.Spec{Argv: []string{"plain"}, Env: []string{"PATH=" + dir}}, []string{plain, "permission denied"}, os.ErrPermission},
		{"no interpreter", sandbox.Spec{Argv: []string{orphan}}, []string{orphan, "no such interpreter"}, os.ErrNotExist},
		{"no #! line", sandbox.Spec{Argv: []string{"./noline"}, Dir: dir}, []string{"./noline", "#! line"}, syscall.ENOEXEC},
		{"too long", sandbox.Spec{Argv: append([]string{"true"}, many...)}, []string{`"true"`, "arguments too long"}, syscall.E2BIG},
		{"one too long", sandbox.Spec{Argv: []string{"true", ids(1 << 20)}}, []string{"arguments too long"}, syscall.E2BIG},
		{"no such user", sandbox.Spec{Argv: []string{"true"}, User: "no-such-user"}, []string{`"no-such-user"`, "no such user"}, nil},
		{"NUL in an argument", sandbox.Spec{Argv: []string{"true", "a\x00b"}}, []string{"NUL"}, nil},
		{"NUL in a variable", sandbox.Spec{Argv: []string{"true"}, Params: []string{"A=a\x00b"}}, []string{`"A"`, "NUL"}, nil},
		{"bad id", sandbox.Spec{ID: "../x", Argv: []string{"true"}}, []string{`"../x"`}, nil},
	}
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		run(t, h, sandbox.Spec{Argv: []string{"true"}}) // what is opened once is open
		before := used(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if c.spec.ID == "" {
					c.spec.ID = "r"
				}
				if c.spec.Env == nil {
					c.spec.Env = os.Environ()
				}
				_, err := h.Start(c.spec)
				var startErr *sandbox.StartError
				if !errors.As(err, &startErr) {
					t.Fatalf("got %v, want a *StartError", err)
				}
				for _, part := range c.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q does not say %q", err, part)
					}
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("error %q is not %v", err, c.is)
				}
			})
		}
		if after := used(t); after.descriptors != before.descriptors {
			t.Errorf("descriptors: %d before, %d after", before.descriptors, after.descriptors)
		}
		if left := sandbox.Leaves(t, h); len(left) > 0 {
			t.Errorf("leaves left: %v", left)
		}
		run(t, h, sandbox.Spec{ID: "r", Argv: []string{"true"}}) // the id is free again
	})
}

func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	open := t.TempDir()
	for dir := open; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, info.Mode()|0o755); err != nil {
			t.Fatal(err)
		}
	}
	closed, inner := filepath.Join(open, "closed"), filepath.Join(open, "closed", "inner")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(closed, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	noBit, theirs := filepath.Join(open, "nobit"), filepath.Join(open, "theirs")
	for dir, mode := range map[string]os.FileMode{noBit: 0o700, theirs: 0o755} {
		path := filepath.Join(dir, "program")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(path, []byte("#!/bin/sh\necho theirs\n"), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		script := sh(`id -u; id -g; id -G; echo $HOME $USER $LOGNAME; pwd; echo hi >/dev/stdout; cat /dev/stdin`)
		want := nobody.Uid + "\n" + nobody.Gid + "\n" + nobody.Gid + "\n" + nobody.HomeDir + " nobody nobody\n/\nhi\ninput"
		for _, name := range []string{"nobody", nobody.Uid} {
			_, out := run(t, h, sandbox.Spec{Argv: script, User: name, Dir: "/", Stdin: []byte("input")})
			if got := out[0].String(); got != want {
				t.Errorf("as %s: got %q, want %q", name, got, want)
			}
		}
		_, out := run(t, h, sandbox.Spec{Argv: sh("id -u; id -G"), User: "54321", Dir: "/"})
		if got := out[0].String(); got != "54321\n54321\n" {
			t.Errorf("as a number without an entry: %q", got)
		}
		_, out = run(t, h, sandbox.Spec{Argv: []string{"program"}, User: "nobody", Dir: "/", Env: []string{"PATH=" + closed + ":" + noBit + ":" + theirs + ":/bin:/usr/bin"}})
		if got := out[0].String(); got != "theirs\n" {
			t.Errorf("what it may not execute is not passed over: got %q", got)
		}
		_, out = run(t, h, sandbox.Spec{Argv: sh("echo $HOME"), User: "nobody", Dir: "/", Params: []string{"HOME=/else"}})
		if got := out[0].String(); got != "/else\n" {
			t.Errorf("a parameter does not win over the account's HOME: %q", got)
		}
		for _, c := range []struct {
			spec sandbox.Spec
			want string
		}{
			{sandbox.Spec{Argv: []string{"true"}, Dir: inner}, `cannot enter directory "` + inner + `": permission denied for user nobody`},
			{sandbox.Spec{Argv: []string{program}, Dir: "/"}, `cannot run "` + program + `": permission denied for user nobody`},
		} {
			c.spec.ID, c.spec.User, c.spec.Env = "r", "nobody", os.Environ()
			if _, err := h.Start(c.spec); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		}
	})
}

func TestSupplementaryGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 || fields[3] == "" {
			continue
		}
		member := strings.Split(fields[3], ",")[0]
		if member == "root" {
			continue
		}
		_, out := run(t, newHost(t, byCgroup), sandbox.Spec{Argv: []string{"id", "-G"}, User: member, Dir: "/"})
		if !bytes.Contains(append([]byte(" "), out[0].Bytes()...), []byte(" "+fields[2])) {
			t.Errorf("%s is in group %s, but runs with %s", member, fields[2], &out[0])
		}
		return
	}
	t.Skip("no user with a supplementary group here")
}

// A script that another process has open for writing for a moment is waited for.
func TestTextFileBusy(t *testing.T) {
	h := newHost(t, byCgroup)
	path := filepath.Join(t.TempDir(), "script")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("#!/bin/sh\necho ran\n"); err != nil {
		t.Fatal(err)
	}
	type result struct {
		p   *sandbox.Process
		err error
	}
	started := make(chan result)
	go func() {
		p, err := h.Start(sandbox.Spec{ID: "busy", Argv: []string{path}})
		started <- result{p, err}
	}()
	select {
	case r := <-started:
		t.Fatalf("started while the file was open for writing: %v", r.err)
	case <-afterTries():
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	r := <-started
	if r.err != nil {
		t.Fatal(r.err)
	}
	var out output
	if _, err := r.p.Pump(out.take, nil); err != nil || out[0].String() != "ran\n" {
		t.Errorf("got %q, %v", &out[0], err)
	}
}
