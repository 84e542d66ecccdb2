package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jsm.go/natscontext"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/runnel-io/runnel/tests/rig"
)

// The context that a runner was started with, and the seed that it names, are
// shown to nobody: by name, by another name, by a link, or whole by a listing.
func TestNobodySeesTheContextOfServe(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user, err := nkeys.CreateUser()
	must(err)
	public, err := user.PublicKey()
	must(err)
	seed, err := user.Seed()
	must(err)
	place := filepath.Join(home, "place")
	must(os.Mkdir(place, 0o755))
	seedFile, context := filepath.Join(place, "notes"), filepath.Join(home, "config", "nats", "context", "prod.json")
	must(os.WriteFile(seedFile, append([]byte("some words before it\n"), seed...), 0o600))
	server := rig.Start(t, natsserver.Options{Nkeys: []*natsserver.NkeyUser{{Nkey: public}}})
	saved, err := natscontext.New("prod", false, natscontext.WithServerURL(server.ClientURL()), natscontext.WithNKey(seedFile))
	must(err)
	text, err := saved.MarshalJSON()
	must(err)
	must(os.MkdirAll(filepath.Dir(context), 0o700))
	must(os.WriteFile(context, text, 0o600))
	hard, soft, control := filepath.Join(place, "hard"), filepath.Join(place, "soft"), filepath.Join(place, "control")
	must(os.Link(context, hard))
	must(os.Symlink(seedFile, soft))
	must(os.WriteFile(control, []byte("shown\n"), 0o600))

	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(rig.Program(t), args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home+"/config", "XDG_DATA_HOME="+home+"/data", "NATS_URL=", "NATS_CONTEXT=")
		return cmd
	}
	p := rig.Run(t, command("serve", "--context", "prod", "--data", t.TempDir(), "--name", "web1"))
	p.Says(" ready: ")
	if out, err := command("glance", "cat", control, "--on", "web1", "--context", "prod").CombinedOutput(); err != nil || !strings.Contains(string(out), "shown") {
		t.Fatalf("the control: %v: %s", err, out)
	}
	for _, path := range []string{context, hard, seedFile, soft, filepath.Join(place, "..", "place", "notes")} {
		out, err := command("glance", "cat", path, "--on", "web1", "--context", "prod").CombinedOutput()
		if err == nil || strings.Contains(string(out), string(seed)) || strings.Contains(string(out), server.ClientURL()) {
			t.Errorf("%s is shown: %s", path, out)
		}
	}
}
