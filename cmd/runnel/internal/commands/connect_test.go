package commands

import (
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/embedded"
)

// newHome gives the test a home of its own, without a server anywhere.
func newHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("TMPDIR", t.TempDir())
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "NATS_") || strings.HasPrefix(name, "RUNNEL_") {
			t.Setenv(name, "")
		}
	}
	return home
}

func startServer(t *testing.T, name string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Name: name, DataDir: t.TempDir(), Port: embedded.AnyPort})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// parsed is the app after a command line was read.
func parsed(t *testing.T, args ...string) *app.App {
	t.Helper()
	a := app.New(app.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	root := newRoot(a)
	root.AddCommand(&cobra.Command{Use: "probe", RunE: func(*cobra.Command, []string) error { return nil }})
	root.SetArgs(append(args, "probe"))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return a
}

// reached is the name of the server that a command with these arguments ends
// up at.
func reached(t *testing.T, args ...string) string {
	t.Helper()
	found, err := parsed(t, args...).Conn.Find(connect.Search{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	nc, err := found.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	return nc.ConnectedServerName()
}

func leaveLocal(t *testing.T, s *embedded.Server, name string) *connect.Local {
	t.Helper()
	l := &connect.Local{Name: name, URL: s.URL(), SeedFile: s.SeedFile(), Lock: s.LockFile(), PID: os.Getpid(), Started: time.Now()}
	if err := l.Leave(); err != nil {
		t.Fatal(err)
	}
	return l
}

func saveContext(t *testing.T, name string, s *embedded.Server) {
	t.Helper()
	c, err := natscontext.New(name, false, natscontext.WithServerURL(s.URL()), natscontext.WithNKey(s.SeedFile()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Save(name); err != nil {
		t.Fatal(err)
	}
}

// The whole order, from the last resort to the first.
func TestWhereACommandFindsItsServer(t *testing.T) {
	newHome(t)
	expect := func(want string, args ...string) {
		t.Helper()
		if got := reached(t, args...); got != want {
			t.Errorf("with %q: got %s, want %s", args, got, want)
		}
	}
	expect("runnel-private")

	leaveLocal(t, startServer(t, "local"), "local")
	expect("local")

	saveContext(t, "chosen", startServer(t, "of-selected-context"))
	expect("local") // a context that is not selected says nothing
	if err := natscontext.SelectContext("chosen"); err != nil {
		t.Fatal(err)
	}
	expect("of-selected-context")
	expect("local", "--no-context")

	saveContext(t, "named", startServer(t, "of-named-context"))
	t.Setenv("NATS_CONTEXT", "named")
	expect("of-named-context")
	expect("of-selected-context", "--context", "chosen")
	t.Setenv("NATS_CONTEXT", "")

	env, flag := startServer(t, "of-environment"), startServer(t, "of-flag")
	t.Setenv("NATS_URL", env.URL())
	t.Setenv("NATS_NKEY", env.SeedFile())
	expect("of-environment")
	expect("of-flag", "--server", flag.URL(), "--nkey", flag.SeedFile())
	expect("of-flag", "-s", flag.URL(), "--nkey", flag.SeedFile(), "--no-context")
}

func TestNoServerIsAnErrorWhereNoneMayBeStarted(t *testing.T) {
	newHome(t)
	_, err := parsed(t).Conn.Find(connect.Search{})
	if err == nil || !strings.Contains(err.Error(), "runnel serve") {
		t.Errorf("got %v, want an error that names runnel serve", err)
	}
}

func TestCredentialsOfTheCommandLineReplaceTheContexts(t *testing.T) {
	newHome(t)
	s := startServer(t, "s")
	wrong, err := natscontext.New("wrong", false, natscontext.WithServerURL(s.URL()),
		natscontext.WithUser("nobody"), natscontext.WithPassword("nothing"))
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.Save("wrong"); err != nil {
		t.Fatal(err)
	}
	if got := reached(t, "--context", "wrong", "--nkey", s.SeedFile()); got != "s" {
		t.Errorf("got %s, want s", got)
	}
}

func TestWithoutCredentialsNobodyGetsIn(t *testing.T) {
	newHome(t)
	s := startServer(t, "s")
	for _, args := range [][]string{
		{"--server", s.URL()},
		{"--server", s.URL(), "--user", "a", "--password", "b"},
		{"--server", s.URL(), "--token", "c"},
	} {
		found, err := parsed(t, args...).Conn.Find(connect.Search{})
		if err != nil {
			t.Fatal(err)
		}
		nc, err := found.Connect()
		if err == nil {
			nc.Close()
			t.Errorf("%q: let in", args)
		} else if want := "cannot connect to " + s.URL() + ": not let in"; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %q, want %q", args, err, want)
		}
	}
}

func TestConnectErrorsAreOneClearLine(t *testing.T) {
	newHome(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for _, test := range []struct{ server, want string }{
		{closed, "cannot connect to " + closed + ": connection refused"},
		{"nats://me:secret@" + closed, "cannot connect to nats://me:xxxxx@" + closed + ": connection refused"},
		{"nats://token@" + closed, "cannot connect to nats://xxxxx@" + closed + ": connection refused"},
	} {
		found, err := parsed(t, "--server", test.server).Conn.Find(connect.Search{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Connect(); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.server, err, test.want)
		}
	}
}

func TestTwoKindsOfCredentialsAreRefused(t *testing.T) {
	newHome(t)
	_, err := parsed(t, "--nkey", "a", "--creds", "b").Conn.Find(connect.Search{})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot use the connection flags: too many types of credentials") {
		t.Errorf("got %v, want an error", err)
	}
}

// What a server here can't heed is refused, and not left out.
func TestFlagsThatNeedAServerElsewhere(t *testing.T) {
	newHome(t)
	for _, args := range [][]string{{"--js-domain", "hub"}, {"--js-api-prefix", "x.API"}, {"--inbox-prefix", "_IN"}, {"--tlsfirst"}} {
		_, err := parsed(t, args...).Conn.Find(connect.Search{Private: true})
		if want := "cannot use " + args[0] + " with a server inside this command: it goes with --server or --context"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	leaveLocal(t, startServer(t, "here"), "here")
	_, err := parsed(t, "--js-domain", "hub").Conn.Find(connect.Search{})
	if want := "cannot use --js-domain with the local runnel serve here: it goes with --server or --context"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestUnknownContext(t *testing.T) {
	newHome(t)
	_, err := parsed(t, "--context", "nowhere").Conn.Find(connect.Search{})
	if want := `cannot use nats context "nowhere": unknown context "nowhere"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLocalServerThatCrashedIsPassedOver(t *testing.T) {
	newHome(t)
	s := startServer(t, "gone")
	leaveLocal(t, s, "gone")
	s.Close() // as after a crash, the file is still there
	if got := reached(t); got != "runnel-private" {
		t.Errorf("got %s, want a private server", got)
	}
}

func TestOfSeveralLocalServersTheLatestCounts(t *testing.T) {
	newHome(t)
	first := leaveLocal(t, startServer(t, "first"), "first")
	second := leaveLocal(t, startServer(t, "second"), "second")
	if got := reached(t); got != "second" {
		t.Errorf("got %s, want second", got)
	}
	if err := second.TakeAway(); err != nil {
		t.Fatal(err)
	}
	if got := reached(t); got != "first" {
		t.Errorf("when the second has ended: got %s, want first", got)
	}
	if err := first.TakeAway(); err != nil {
		t.Fatal(err)
	}
	if err := first.TakeAway(); err != nil {
		t.Errorf("taking away what is gone: %v", err)
	}
}

// A private server in the place of one that hangs would only hide that.
func TestLocalServerThatDoesNotAnswerIsAnError(t *testing.T) {
	newHome(t)
	s := startServer(t, "silent")
	l := leaveLocal(t, s, "silent")
	l.URL = "nats://127.0.0.1:1"
	if err := l.Leave(); err != nil {
		t.Fatal(err)
	}
	found, err := parsed(t).Conn.Find(connect.Search{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	_, err = found.Connect()
	if err == nil || !strings.Contains(err.Error(), "runnel serve silent") || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v, want an error that names the server", err)
	}
}

// A server that is just starting again has left the address of its last life.
func TestLocalServerThatIsStartingIsWaitedFor(t *testing.T) {
	newHome(t)
	s := startServer(t, "starting")
	right := leaveLocal(t, s, "starting")
	old := *right
	old.URL = "nats://127.0.0.1:1"
	if err := old.Leave(); err != nil {
		t.Fatal(err)
	}
	found, err := parsed(t).Conn.Find(connect.Search{})
	if err != nil {
		t.Fatal(err)
	}
	if err := right.Leave(); err != nil {
		t.Fatal(err)
	}
	nc, err := found.Connect()
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestWhatServeLeavesIsPrivate(t *testing.T) {
	home := newHome(t)
	l := leaveLocal(t, startServer(t, "s"), "web1")
	name, err := l.WriteNATSContext()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(home, "data", "runnel", "local", "web1.json"),
		filepath.Join(home, "config", "nats", "context", "runnel-web1.json"),
		l.SeedFile,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of %s: got %o, want 600", path, got)
		}
	}
	if got := natscontext.SelectedContext(); got != "" {
		t.Errorf("selected context: got %q, want none", got)
	}
	nc, err := natscontext.Connect(name, nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatalf("through the nats context: %v", err)
	}
	nc.Close()
	if _, err := l.WriteNATSContext(); err != nil {
		t.Errorf("writing it again: %v", err)
	}
}

func TestAContextOfSomebodyElsesStays(t *testing.T) {
	newHome(t)
	s := startServer(t, "s")
	saveContext(t, "runnel-web1", s)
	l := leaveLocal(t, s, "web1")
	if _, err := l.WriteNATSContext(); err == nil {
		t.Error("overwrote it")
	}
}

// Two ways to say how long: one is about answers, the other is the run's.
func TestTimeoutOfTheNATSCommand(t *testing.T) {
	newHome(t)
	t.Setenv("NATS_TIMEOUT", "7s")
	if got := parsed(t).Conn.Timeout; got != 7*time.Second {
		t.Errorf("from the environment: got %v, want 7s", got)
	}
	if got := parsed(t, "--timeout", "3s").Conn.Timeout; got != 3*time.Second {
		t.Errorf("from the flag: got %v, want 3s", got)
	}
}

// A systemd service has no $HOME, and leaves its credentials all the same.
func TestHomeWithoutEnvironment(t *testing.T) {
	t.Setenv("HOME", "")
	who, err := user.Current()
	if err != nil {
		t.Skip("no account: ", err)
	}
	if home, err := connect.HomeDir(); err != nil || home != who.HomeDir {
		t.Errorf("got %q, %v, want %q", home, err, who.HomeDir)
	}
}
