package commands

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A task gets its three streams and none of what the runner's parent left open.
func TestInheritedDescriptors(t *testing.T) {
	secret, err := os.CreateTemp(t.TempDir(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"runnel", "run", "--", "readlink", "/proc/self/fd/3"}
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir(), "NATS_URL=")
	cmd.ExtraFiles = []*os.File{secret} // descriptor 3
	out, _ := cmd.Output()
	if strings.Contains(string(out), "secret") {
		t.Errorf("a task has %s", out)
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 { // readlink's own
		t.Errorf("exit code %d", code)
	}
}
