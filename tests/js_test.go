package tests

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJavaScript runs the tests in js: a client that nobody here wrote and that
// knows docs/wire.md alone. With RUNNEL_JS=1, as in CI, it installs what they
// need, and it is a failure if that can't be done.
func TestJavaScript(t *testing.T) {
	must := os.Getenv("RUNNEL_JS") == "1"
	if testing.Short() && !must {
		t.Skip("takes 15 s")
	}
	if _, err := exec.LookPath("node"); err != nil {
		if must {
			t.Fatal(err)
		}
		t.Skip("node is not installed; RUNNEL_JS=1 makes that a failure")
	}
	if must {
		mustRun(t, "js", nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	} else if _, err := os.Stat("js/node_modules"); err != nil {
		t.Skip("tests/js/node_modules is missing; RUNNEL_JS=1 installs it, or npm ci there")
	}
	runner := filepath.Join(t.TempDir(), "jsrunner")
	mustRun(t, ".", nil, "go", "build", "-o", runner, "./jsrunner")
	t.Log(mustRun(t, "js", []string{"RUNNEL_JSRUNNER=" + runner}, "node", "--test"))
}

func mustRun(t *testing.T, dir string, env []string, argv ...string) (output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}
