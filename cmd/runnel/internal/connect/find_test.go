package connect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
)

// given are the flags of a command line.
func given(t *testing.T, args ...string) *Flags {
	t.Helper()
	c := new(Flags)
	cmd := &cobra.Command{Use: "runnel", Run: func(*cobra.Command, []string) {}}
	c.Add(cmd)
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return c
}

// bareHome is a home where nobody has been.
func bareHome(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"} {
		t.Setenv(name, t.TempDir())
	}
}

func TestServerByFlag(t *testing.T) {
	bareHome(t)
	target, err := given(t, "--server", "nats://somewhere:4222", "--timeout", "7s", "--js-domain", "hub").Find(Search{})
	if err != nil || target.url != "nats://somewhere:4222" || target.Origin != "--server" || target.Timeout != 7*time.Second || target.JSDomain != "hub" || target.Private() {
		t.Errorf("got %+v, %v", target, err)
	}
	if err := target.Close(); err != nil {
		t.Errorf("what was never opened: %v", err)
	}
}

func TestNoServerAtAll(t *testing.T) {
	bareHome(t)
	if _, err := given(t).Find(Search{}); !errors.Is(err, ErrNoServer) {
		t.Errorf("got %v, want %v", err, ErrNoServer)
	}
	for _, timeout := range []string{"0s", "-1s"} {
		if _, err := given(t, "--timeout", timeout).Find(Search{}); err == nil || err.Error() != "cannot use --timeout "+timeout+": it must be more than 0" {
			t.Errorf("got %v", err)
		}
	}
	if _, err := given(t, "--context", "nosuch").Find(Search{}); err == nil {
		t.Error("a context that isn't there was taken")
	}
}

// What only a server that was named can heed is not passed over.
func TestFlagsOfARemoteServer(t *testing.T) {
	for _, flag := range []string{"--js-domain=hub", "--js-api-prefix=x", "--inbox-prefix=_MINE", "--tlsfirst"} {
		name, _, _ := cutFlag(flag)
		want := "cannot use " + name + " with a server inside this command: it goes with --server or --context"
		if err := given(t, flag).refuseRemote("a server inside this command"); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", flag, err, want)
		}
	}
	if err := given(t).refuseRemote("x"); err != nil {
		t.Errorf("without flags: got %v", err)
	}
}

func cutFlag(flag string) (name, value string, ok bool) {
	for i := range flag {
		if flag[i] == '=' {
			return flag[:i], flag[i+1:], true
		}
	}
	return flag, "", false
}

func TestCausesInWords(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("no route to host")}
	for _, c := range []struct {
		err         error
		want        string
		unreachable bool
	}{
		{nats.ErrNoServers, "connection refused", true},
		{fmt.Errorf("x: %w", syscall.ECONNREFUSED), "connection refused", true},
		{nats.ErrTimeout, nats.ErrTimeout.Error(), true},
		{io.EOF, "EOF", true},
		{dial, "no route to host", false},
		{errors.New("tls: unknown authority"), "tls: unknown authority", false},
		{nats.ErrAuthorization, "not let in: " + nats.ErrAuthorization.Error() + "; credentials are given with --creds, --nkey, --user or --context", false},
	} {
		got := Cause(c.err)
		if got.Error() != c.want || Unreachable(got) != c.unreachable {
			t.Errorf("%v: got %v, unreachable %t", c.err, got, Unreachable(got))
		}
	}
}

func TestFilesAreAbsolute(t *testing.T) {
	bareHome(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got := absolute("", "~/a.creds", "b.nk", "/c")
	if want := []string{filepath.Join(os.Getenv("HOME"), "a.creds"), filepath.Join(here, "b.nk"), "/c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := areOwn([]string{"/no/such/file"}); err != nil {
		t.Errorf("whoever opens it says that: got %v", err)
	}
}

// Without flags, answers are waited for as long as the nats command waits, and the
// connection has the program's name.
func TestConnectionsByDefault(t *testing.T) {
	for name, args := range map[string][]string{"runnel": nil, "mine": {"--connection-name", "mine"}} {
		c := given(t, args...)
		if c.Timeout != 5*time.Second {
			t.Errorf("%s: got a timeout of %s", name, c.Timeout)
		}
		var options nats.Options
		for _, option := range c.WithCommon(nil) {
			if err := option(&options); err != nil {
				t.Fatal(err)
			}
		}
		if options.Name != name || options.Timeout != c.Timeout || options.MaxReconnect != -1 || options.PingInterval != pingInterval {
			t.Errorf("%s: got %q, %s, %d, %s", name, options.Name, options.Timeout, options.MaxReconnect, options.PingInterval)
		}
	}
}

// Of a password in a URL nothing is said.
func TestWhereWithoutSecrets(t *testing.T) {
	for want, target := range map[string]Target{
		"nats://ann:xxxxx@a:1 (nats context \"prod\")": {url: "nats://ann:secret@a:1", Origin: `nats context "prod"`},
		"nats://a:1": {url: "nats://a:1", Origin: "--server"},
	} {
		if got := target.where(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
