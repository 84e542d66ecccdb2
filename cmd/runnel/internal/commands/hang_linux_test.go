package commands

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/hangfs"
	"github.com/runnel-io/runnel/tests/rig"
)

// Looks that hang on a dead server's mount keep serve from nothing: not from
// answering others, and not from ending when it is told to.
func TestServeEndsBesideHungMount(t *testing.T) {
	fs := hangfs.Mount(t)
	home := t.TempDir()
	runnel := func(args ...string) *exec.Cmd {
		return &exec.Cmd{
			Path: "/proc/self/exe", Args: append([]string{"runnel"}, args...),
			Env: append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home),
		}
	}
	serve := runnel("serve", "--name", "web1", "--listen", "127.0.0.1:0")
	var log bytes.Buffer
	serve.Stderr = &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serve.Process.Kill() })
	rig.Eventually(t, "it takes runs", func() bool { return runnel("run", "--on", "web1", "--", "true").Run() == nil })
	fs.Hang()
	var looks sync.WaitGroup
	for range 10 {
		looks.Go(func() {
			if out, err := runnel("glance", "ls", fs.Dir, "--on", "web1").CombinedOutput(); err == nil {
				t.Errorf("a hung mount was listed: %s", out)
			}
		})
	}
	out, err := runnel("run", "--on", "web1", "--", "echo", "there").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "there") {
		t.Errorf("a run beside them: %s, %v", out, err)
	}
	began := time.Now()
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = serve.Wait() }()
	select {
	case <-ended:
	case <-time.After(rig.Patience):
		t.Fatalf("serve is still there %v after SIGTERM:\n%s", time.Since(began), log.String())
	}
	looks.Wait()
}
