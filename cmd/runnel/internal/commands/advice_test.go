//go:build unix

package commands

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/client"
)

// startNATS starts a plain nats-server, as others run it.
func startNATS(t *testing.T, opts natsserver.Options) string {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", -1, true, true
	if opts.JetStream {
		opts.StoreDir = t.TempDir()
	}
	s, err := natsserver.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s.ClientURL()
}

// complains runs a command line and checks the error that its user sees.
func complains(t *testing.T, want string, args ...string) {
	t.Helper()
	if os.Getenv("NATS_TIMEOUT") == "" {
		t.Setenv("NATS_TIMEOUT", "5m") // of which nothing is waited
	}
	began := time.Now()
	_, errOut, err := runnel(t, args...)
	said := errOut
	if err != nil {
		said += "runnel: " + err.Error()
	}
	if !strings.Contains(said, want) {
		t.Errorf("runnel %s\n got %s\nwant %s", strings.Join(args, " "), said, want)
	}
	if strings.Contains(said, "err_code") || strings.Contains(said, "no responders") {
		t.Errorf("runnel %s: raw words of the API: %s", strings.Join(args, " "), said)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("runnel %s: took %v to say so", strings.Join(args, " "), took)
	}
}

func TestServerWithoutJetStream(t *testing.T) {
	newHome(t)
	url := startNATS(t, natsserver.Options{})
	want := "runnel: the NATS server at " + url + ` has no JetStream, where runs and their output are kept: start it with "nats-server -js", or "jetstream {}" in its configuration`
	for _, args := range []string{"ls", "ps", "show x", "run -- true", "run -d -- true", "run --all -- true", "glance sys", "maint clock", "abort x", "rm x", "serve"} {
		complains(t, want, append([]string{"--server", url}, strings.Fields(args)...)...)
	}
}

func TestWrongJetStreamDomain(t *testing.T) {
	newHome(t)
	url := startNATS(t, natsserver.Options{JetStream: true})
	for _, args := range []string{"ls", "show x", "run --all -- true"} {
		complains(t, `runnel: no JetStream domain "hub" is reached by `+url+": see --js-domain",
			append([]string{"--server", url, "--js-domain", "hub"}, strings.Fields(args)...)...)
	}
}

func TestReplicasOfASingleServer(t *testing.T) {
	newHome(t)
	url := startNATS(t, natsserver.Options{JetStream: true})
	complains(t, "cannot have more than one replica: "+url+" is a single server; use --replicas 1, or a cluster of three for --replicas 3",
		"serve", "--server", url, "--replicas", "3", "--data", t.TempDir())
}

// A server of years ago, as far as it comes: to its greeting.
func TestServerThatIsTooOld(t *testing.T) {
	newHome(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, `INFO {"server_id":"OLD","version":"2.9.25","proto":1,"headers":true,"jetstream":true,"max_payload":1048576}`+"\r\n")
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "PING") {
						fmt.Fprint(conn, "PONG\r\n")
					}
				}
			}()
		}
	}()
	url := "nats://" + l.Addr().String()
	for _, args := range []string{"ls", "run -- true", "serve"} {
		complains(t, "runnel: cannot use the NATS server at "+url+": it is nats-server 2.9.25, and 2.11 or later is needed",
			append([]string{"--server", url}, strings.Fields(args)...)...)
	}
}

// Who may not is told so at once, by name, and not that nobody answers.
func TestDeniedIsSaidAtOnce(t *testing.T) {
	newHome(t)
	allowed := &natsserver.SubjectPermission{Allow: []string{"$JS.API.>", "$KV.>"}}
	inboxes := &natsserver.SubjectPermission{Allow: []string{"_INBOX.>", "runner.log.>"}}
	url := startNATS(t, natsserver.Options{JetStream: true, Users: []*natsserver.User{
		{Username: "all", Password: "x"},
		{Username: "ops", Password: "x", Permissions: &natsserver.Permissions{Publish: allowed, Subscribe: inboxes}},
		{Username: "blind", Password: "x", Permissions: &natsserver.Permissions{Publish: &natsserver.SubjectPermission{Allow: []string{"runner.>"}}, Subscribe: inboxes}},
	}})
	served := startServe(t, "--server", url, "--user", "all", "--password", "x", "--name", "web1")
	defer served()
	for args, subject := range map[string]string{
		"run -- true": "runner.task.any", "run -d -- true": "runner.task.any", "run --on web1 -- true": "runner.task.at.web1",
		"glance sys": "runner.glance.any", "ps": "runner.query.any", "maint clock": "runner.maint.any",
	} {
		complains(t, `runnel: user "ops" may not publish on `+subject+" (docs/subjects.md)",
			append([]string{"--server", url, "--user", "ops", "--password", "x"}, strings.Fields(args)...)...)
	}
	complains(t, `runnel: user "blind" may not publish on $JS.API.`, "--server", url, "--user", "blind", "--password", "x", "ls")
}

// startServe starts `runnel serve` and returns what ends it.
func startServe(t *testing.T, args ...string) (end func()) {
	t.Helper()
	cmd, _, _ := servedWithLog(t, args...)
	return func() { endsWell(t, cmd) }
}

func TestContextOfAServerThatIsDown(t *testing.T) {
	newHome(t)
	c, err := natscontext.New("prod", false, natscontext.WithServerURL("nats://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Save("prod"); err != nil {
		t.Fatal(err)
	}
	want := `runnel: cannot connect to nats://127.0.0.1:1 (nats context "prod"): connection refused`
	complains(t, want, "ls", "--context", "prod")
	if err := natscontext.SelectContext("prod"); err != nil {
		t.Fatal(err)
	}
	complains(t, want, "ls")
}

func TestWordsForMistakes(t *testing.T) {
	newHome(t)
	url := startNATS(t, natsserver.Options{JetStream: true})
	t.Setenv("NATS_URL", url)
	python := filepath.Join(t.TempDir(), "fix.py")
	if err := os.WriteFile(python, []byte("import sys\nprint(sys.argv)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	words := filepath.Join(t.TempDir(), "fix.sh")
	if err := os.WriteFile(words, []byte("echo hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want string
		args []string
	}{
		{"runnel: no online runner in pool nosuch (runnel ls)", []string{"run", "--pool", "nosuch", "--", "true"}},
		{"runnel: No runners available.", []string{"run", "--", "true"}},
		{`--timeout: "-3s" is negative`, []string{"run", "--timeout", "-3s", "--", "true"}},
		{"--tag: key and value", []string{"run", "--tag", "k=" + strings.Repeat("x", 300), "--", "true"}},
		{`--isolation: "heavy" must be`, []string{"run", "--isolation", "heavy", "--", "true"}},
		{`--overflow: "spill" must be`, []string{"run", "--overflow", "spill", "--", "true"}},
		{"to compare, write ==, as in 'labels.env == \"prod\"'", []string{"run", "--where", `name = "x"`, "--", "true"}},
		{"cannot use --tlscert without --tlskey", []string{"ls", "--tlscert", "/nowhere"}},
		{"cannot use --tlskey without --tlscert", []string{"ls", "--tlskey", "/nowhere"}},
		{"runnel code run " + python, []string{"run", "-f", python}},
		{`must begin with "#!/bin/bash"`, []string{"run", "-f", words}},
	} {
		complains(t, test.want, test.args...)
	}
}

// A runner that answers nothing may have taken the run all the same.
func TestNoAnswerNamesTheRun(t *testing.T) {
	newHome(t)
	url := startNATS(t, natsserver.Options{JetStream: true})
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("runner.task.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_URL", url)
	t.Setenv("NATS_TIMEOUT", "300ms")
	complains(t, "runnel: no answer from web9 in 300ms: run mine may have started, or may still start (runnel show mine)", "run", "--on", "web9", "--id", "mine", "--", "true")
	complains(t, "runnel: no answer from any runner in 300ms: run mine may have started", "run", "-d", "--id", "mine", "--", "true")
}

func TestFieldsBecomeFlags(t *testing.T) {
	for text, want := range map[string]string{
		`spec.task.params[2].name: "a=b" must not have "="`: `--param: "a=b" must not have "="`,
		"spec.task.limits.cpuWeight: 0 is too small":        "--cpu-weight: 0 is too small",
		"spec.task.dir and spec.task.user must not":         "--dir and --as must not",
		"spec.task.unheard.of is wrong":                     "spec.task.unheard.of is wrong",
		"a spec.of something else":                          "a spec.of something else",
	} {
		if got := withFlags(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestAdviceKeepsCodesAndCauses(t *testing.T) {
	if advise(nil) != nil {
		t.Error("no error became one")
	}
	if got := advise(&cli.ExitError{Code: 3}); cli.Report(got, nil) != 3 {
		t.Errorf("got %v, want code 3", got)
	}
	offline := fmt.Errorf("runner web9 is %w; last seen 3 days ago", client.ErrOffline)
	if got, want := advise(offline).Error(), "runner web9 is not online; last seen 3 days ago (runnel ls)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	refusal := &client.RemoteError{Runner: "web1", Code: 403, Text: "the policy does not allow user root"}
	if got := client.Code(advise(refusal)); got != 403 {
		t.Errorf("got code %d, want 403", got)
	}
}
