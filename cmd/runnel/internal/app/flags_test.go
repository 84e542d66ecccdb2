package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/service/client"
)

// parsed is a command with flags of its own that has read a command line.
func parsed(t *testing.T, a *App, add func(*cobra.Command), args ...string) (*cobra.Command, error) {
	t.Helper()
	root := &cobra.Command{Use: "runnel"}
	a.AddGlobalFlags(root)
	cmd := &cobra.Command{Use: "x", RunE: func(cmd *cobra.Command, _ []string) error { return a.Prepare(cmd) }}
	if add != nil {
		add(cmd)
	}
	root.AddCommand(cmd)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(append([]string{"x"}, args...))
	return cmd, root.Execute()
}

func quiet() *App { return New(Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}) }

func TestTargetsAreFlags(t *testing.T) {
	for line, want := range map[string]client.Target{
		"":                                {},
		"--on web1":                       {On: "web1"},
		"--pool web":                      {Pool: "web"},
		"--all":                           {All: true},
		"--all --pool web --where cpus>8": {All: true, Pool: "web", Where: "cpus>8"},
	} {
		var where TargetFlags
		a := quiet()
		if _, err := parsed(t, a, func(cmd *cobra.Command) { where.Add(a, cmd) }, strings.Fields(line)...); err != nil || where.Target != want {
			t.Errorf("%s: got %+v, %v, want %+v", line, where.Target, err, want)
		}
	}
}

func TestFanOutsAreFlags(t *testing.T) {
	var fan FanFlags
	if _, err := parsed(t, quiet(), fan.Add, "--limit", "25%", "--batch", "3", "--expect", "9"); err != nil {
		t.Fatal(err)
	}
	if fan.Limit != "25%" || fan.Batch != 3 || fan.Expect != 9 {
		t.Errorf("got %+v", fan.FanOptions)
	}
}

// A value that is given and empty is most often a variable that is not set: it must
// not mean "any runner".
func TestEmptyValuesAreRefused(t *testing.T) {
	var where TargetFlags
	for _, name := range []string{"on", "pool", "where", "prefix", "server", "context"} {
		a := quiet()
		_, err := parsed(t, a, func(cmd *cobra.Command) { where.Add(a, cmd) }, "--"+name, "")
		if want := "cannot use --" + name + ` "": it is empty`; err == nil || err.Error() != want {
			t.Errorf("--%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := parsed(t, quiet(), nil, "--password", ""); err != nil {
		t.Errorf("a password may be empty: got %v", err)
	}
	if _, err := parsed(t, quiet(), nil); err != nil {
		t.Errorf("without flags: got %v", err)
	}
}

func TestPrefixOfTheFleet(t *testing.T) {
	for _, c := range []struct {
		flag, found, want string
	}{
		{"", "", "runner"},
		{"acme", "", "acme"},
		{"", "team7", "team7"},    // what the local server says
		{"acme", "team7", "acme"}, // the flag prevails
	} {
		a := quiet()
		a.Prefix = c.flag
		space, err := a.space(&connect.Target{Prefix: c.found})
		if err != nil || space.Prefix() != c.want {
			t.Errorf("%+v: got %v, %v", c, space, err)
		}
	}
	a := quiet()
	if space, err := a.space(nil); err != nil || space.Prefix() != "runner" {
		t.Errorf("without a server: got %v, %v", space, err)
	}
	a.Prefix = "Not a prefix"
	if _, err := a.space(nil); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a bad prefix: got %v", err)
	}
}

func TestLogLevels(t *testing.T) {
	for level, want := range map[string]slog.Level{
		"": slog.LevelWarn, "debug": slog.LevelDebug, "info": slog.LevelInfo, "WARN": slog.LevelWarn, "error": slog.LevelError,
	} {
		a := quiet()
		args := []string{"--log-level", level}
		if level == "" {
			args = nil
		}
		if _, err := parsed(t, a, nil, args...); err != nil {
			t.Errorf("%s: %v", level, err)
		}
		if !a.Log.Enabled(t.Context(), want) || a.Log.Enabled(t.Context(), want-1) {
			t.Errorf("%s: the least level is not %s", level, want)
		}
	}
	_, err := parsed(t, quiet(), nil, "--log-level", "loud")
	if want := `cannot use log level "loud": it is debug, info, warn or error`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Programs get key=value, people on a terminal something to read.
func TestLogsAreForTheirReader(t *testing.T) {
	for terminal, want := range map[bool]string{false: `level=WARN msg=mind n=7`, true: "mind"} {
		var errOut bytes.Buffer
		a := New(Stdio{Out: io.Discard, Err: &errOut})
		a.ErrLook.Terminal = terminal
		if err := a.SetLogger(slog.LevelWarn); err != nil {
			t.Fatal(err)
		}
		a.Log.Warn("mind", "n", 7)
		a.Log.Info("not this")
		if got := errOut.String(); !strings.Contains(got, want) || strings.Contains(got, "not this") || strings.Contains(got, "\x1b") {
			t.Errorf("terminal %t: got %q, want %q", terminal, got, want)
		}
	}
}

func TestEnvironmentSetsGlobalFlags(t *testing.T) {
	for name, value := range map[string]string{"RUNNEL_PREFIX": "acme", "NATS_URL": "nats://somewhere:1", "NATS_TIMEOUT": "7s", "RUNNEL_LOG_LEVEL": "error"} {
		t.Setenv(name, value)
	}
	a := quiet()
	if _, err := parsed(t, a, nil); err != nil {
		t.Fatal(err)
	}
	if a.Prefix != "acme" || !a.Conn.Explicit() || a.Conn.Timeout.String() != "7s" || a.Log.Enabled(t.Context(), slog.LevelWarn) {
		t.Errorf("got prefix %s, timeout %s", a.Prefix, a.Conn.Timeout)
	}
	a = quiet()
	if _, err := parsed(t, a, nil, "--prefix", "mine", "--timeout", "1s"); err != nil || a.Prefix != "mine" || a.Conn.Timeout.String() != "1s" {
		t.Errorf("the command line prevails: got %s, %s, %v", a.Prefix, a.Conn.Timeout, err)
	}
	t.Setenv("NATS_TIMEOUT", "nonsense")
	_, err := parsed(t, quiet(), nil)
	if want := `cannot use NATS_TIMEOUT="nonsense": it is a duration with a unit, such as 30s or 1h30m`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A command's own flag may have the name of a global one, whose variable counts
// all the same.
func TestVariableOfAHiddenGlobalFlag(t *testing.T) {
	t.Setenv("NATS_TIMEOUT", "7s")
	var own string
	a := quiet()
	_, err := parsed(t, a, func(cmd *cobra.Command) { cmd.Flags().StringVar(&own, "timeout", "", "") }, "--timeout", "1h")
	if err != nil || own != "1h" || a.Conn.Timeout.String() != "7s" {
		t.Errorf("got %s and %s, %v", own, a.Conn.Timeout, err)
	}
}

func TestOnceCompletesTheFirstWordOnly(t *testing.T) {
	find := func(context.Context, *Session, []string) ([]string, error) { return []string{"a"}, nil }
	if got, err := Once(find)(t.Context(), nil, nil); err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("the first: got %q, %v", got, err)
	}
	if got, err := Once(find)(t.Context(), nil, []string{"a"}); err != nil || got != nil {
		t.Errorf("the second: got %q, %v", got, err)
	}
}

func TestSayIsALineOfOurs(t *testing.T) {
	var out, errOut bytes.Buffer
	New(Stdio{Out: &out, Err: &errOut}).Say("%d of %s", 3, "them")
	if errOut.String() != "runnel: 3 of them\n" || out.Len() > 0 {
		t.Errorf("got %q, %q", errOut.String(), out.String())
	}
}

// What the server does not permit ends what waits for it, and is said once
// otherwise.
func TestWhatIsNotPermitted(t *testing.T) {
	var errOut bytes.Buffer
	a := New(Stdio{Out: io.Discard, Err: &errOut})
	denied := &connect.DeniedError{User: `user "ops"`, Action: "publish on", Subject: "runner.task.any"}
	a.Conn.Denied(denied, false)
	a.Conn.Denied(denied, false)
	a.Conn.Denied(denied, true) // nobody waits
	if got, want := errOut.String(), "runnel: user \"ops\" may not publish on runner.task.any (docs/subjects.md)\n"; got != want {
		t.Errorf("got %q, want %q once", got, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	a.giveUp.Store(&cancel)
	a.Conn.Denied(denied, true)
	if got := refused(ctx, ctx.Err()); !errors.Is(got, denied) {
		t.Errorf("got %v, want %v", got, denied)
	}
	other := errors.New("something else")
	if got := refused(t.Context(), other); got != other {
		t.Errorf("got %v, want %v", got, other)
	}
}

// Nothing is asked of a fleet that can't be found, and nothing is left open.
func TestSessionWithoutAServer(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("NATS_URL", "")
	a := quiet()
	if _, err := parsed(t, a, nil, "--no-context"); err != nil {
		t.Fatal(err)
	}
	err := a.WithSession(t.Context(), func(context.Context, *Session) error {
		t.Error("there is a session")
		return nil
	})
	if !errors.Is(err, connect.ErrNoServer) {
		t.Errorf("got %v, want %v", err, connect.ErrNoServer)
	}
}

// A command may have a fleet of its own, which ends with it.
func TestSessionOfItsOwn(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("NATS_URL", "")
	var errOut bytes.Buffer
	a := New(Stdio{In: strings.NewReader(""), Out: io.Discard, Err: &errOut})
	if _, err := parsed(t, a, nil, "--no-context"); err != nil {
		t.Fatal(err)
	}
	sentinel := errors.New("from inside")
	var inside *Session
	err := a.WithAnySession(t.Context(), func(ctx context.Context, s *Session) error {
		inside = s
		if !s.Target.Private() {
			t.Error("the server is somebody's")
		}
		names, err := RunnerNames(ctx, s, nil)
		if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], ", default") {
			t.Errorf("got %q, %v, want the runner inside", names, err)
		}
		pools, err := PoolNames(ctx, s, nil)
		if err != nil || !slices.Equal(pools, []string{"default\t1 runner"}) {
			t.Errorf("got %q, %v", pools, err)
		}
		for _, find := range []Completer{LabelPairs, Selectors} {
			if all, err := find(ctx, s, nil); err != nil || len(all) > 0 {
				t.Errorf("labels of a runner that has none: %q, %v", all, err)
			}
		}
		return sentinel
	})
	if !errors.Is(err, sentinel) {
		t.Errorf("got %v, want the error from inside", err)
	}
	if !inside.Nc.IsClosed() || !inside.runner.Nc.IsClosed() {
		t.Error("a connection is left")
	}
	if want := "runnel: no NATS server configured, using one inside this command (its logs end with it)\n"; errOut.String() != want {
		t.Errorf("got %q, want %q", errOut.String(), want)
	}
}
