package tests

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

// smallDisk mounts a small file system.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes all room, and returns how to give it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return func() { _ = os.Remove(path) }
}

// The disk of a runner with its NATS server is full for six seconds in mid-run:
// health says so, and when there is room again every run ends as it should.
func TestFullDiskInMidRun(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	disk := smallDisk(t, "size=32m")
	p := serve(t, "--data", filepath.Join(disk, "data"), "--listen", "127.0.0.1:0", "--name", "web1", "--http", "127.0.0.1:0")
	p.Says(" ready: ")
	url := strings.Fields(p.Output()[strings.Index(p.Output(), "nats://"):])[0]
	access := []string{"--server", strings.TrimSuffix(url, ","), "--nkey", filepath.Join(disk, "data", "user.nk")}
	for i := range 4 {
		runnel(t, append(access, "run", "--detach", "--id", fmt.Sprintf("r%d", i), "--", "sh", "-c", fmt.Sprintf("i=0; while test $i -lt %d; do echo $i; i=$((i+1)); sleep 0.1; done", 20+30*i))...)
	}
	free := fill(t, disk)
	full := time.Now()
	rig.Eventually(t, "health says what is wrong", func() bool { return strings.Contains(health(p), "no space left on device") })
	rig.Eventually(t, "the disk was full for six seconds", func() bool { return time.Since(full) > 6*time.Second })
	free()
	rig.Eventually(t, "it is ready again", func() bool { return strings.Contains(health(p), `"state":"ready"`) })
	for i := range 4 {
		id := fmt.Sprintf("r%d", i)
		want := fmt.Sprintf("runnel: COMPLETE, exit 0, %d lines", 20+30*i)
		if out := runnel(t, append(access, "logs", "-f", id)...); !strings.Contains(out, want) {
			t.Errorf("%s: got %q, want %q", id, out, want)
		}
	}
	if out := runnel(t, append(access, "run", "--", "echo", "again")...); !strings.Contains(out, "again") {
		t.Errorf("afterwards: %q", out)
	}
	if n := strings.Count(p.Output(), "no space left"); n > 12 {
		t.Errorf("the log says %d times that there is no room:\n%s", n, p.Output())
	}
}
