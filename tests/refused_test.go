package tests

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/runnel-io/runnel/tests/rig"
)

// serve starts a runner's process, with nothing of this user's.
func serve(t *testing.T, args ...string) *rig.Process {
	t.Helper()
	return rig.Run(t, alone(t, append([]string{"serve", "--data", t.TempDir()}, args...)...))
}

// runnel runs a command to its end.
func runnel(t *testing.T, args ...string) string {
	t.Helper()
	out, err := alone(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("runnel %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// alone is the command with no context, server or home of this user.
func alone(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(rig.Program(t), args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home+"/config", "XDG_DATA_HOME="+home+"/data", "NATS_URL=", "NATS_CONTEXT=")
	return cmd
}

func health(p *rig.Process) string {
	url := regexp.MustCompile(`health and metrics on (http://\S+)`).FindStringSubmatch(p.Output())
	if url == nil {
		return ""
	}
	resp, err := http.Get(url[1] + "/healthz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// NATS says no for a while, as with a wrong password after a restart: the runner
// goes on trying, its runs go on, and nothing is missing afterwards.
func TestRunnerOutlivesARefusal(t *testing.T) {
	t.Parallel()
	defer http.DefaultClient.CloseIdleConnections()
	server := rig.Start(t, natsserver.Options{Username: "u", Password: "right"})
	access := []string{"--server", server.ClientURL(), "--user", "u", "--password", "right"}
	p := serve(t, append(access, "--name", "web1", "--http", "127.0.0.1:0")...)
	p.Says(" ready: ")
	runnel(t, append(access, "run", "--detach", "--id", "r1", "--", "sh", "-c", "i=0; while test $i -lt 40; do echo $i; i=$((i+1)); sleep 0.5; done")...)

	server.Stop()
	server.Change(func(o *natsserver.Options) { o.Password = "wrong" })
	server.Again()
	rig.Eventually(t, "health says what is wrong", func() bool {
		return strings.Contains(health(p), "not connected to NATS: nats: Authorization Violation")
	})
	refused := time.Now()
	rig.Eventually(t, "both connections were refused several times", func() bool { return time.Since(refused) > 12*time.Second })
	server.Stop()
	server.Change(func(o *natsserver.Options) { o.Password = "right" })
	server.Again()
	back := time.Now()
	rig.Eventually(t, "it is ready again", func() bool { return strings.Contains(health(p), `"state":"ready"`) })
	t.Logf("ready %s after NATS let it in", time.Since(back))

	out := runnel(t, append(access, "logs", "-f", "r1")...)
	if !strings.Contains(out, "\n38\n39\nrunnel: COMPLETE, exit 0, 40 lines, ") {
		t.Errorf("the log: %q", out)
	}
	if out := runnel(t, append(access, "show", "r1")...); !strings.Contains(out, "COMPLETE") {
		t.Errorf("got %s", out)
	}
	if n := strings.Count(p.Output(), "Authorization Violation"); n < 1 || n > 3 {
		t.Errorf("the log says %d times that it was refused:\n%s", n, p.Output())
	}
}
