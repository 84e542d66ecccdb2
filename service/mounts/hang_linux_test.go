package mounts_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/runnel-io/runnel/service/mounts"
	"github.com/runnel-io/runnel/tests/hangfs"
)

// Nothing of this may touch the mount: every request to it hangs, and the test
// with it.
func TestOfHungMount(t *testing.T) {
	dir := t.TempDir()
	point := filepath.Join(dir, "with blank\tand tab")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	before, err := mounts.Of(point)
	if err != nil || before.MayHang() {
		t.Fatalf("before the mount: %v, %v", before, err)
	}
	hung := hangfs.MountAt(t, point)
	hung.Hang()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("with blank\tand tab/dir", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		point, point + "/", point + "/file", link, link + "/x", point + "/../../etc/passwd",
		dir + "/./link", dir + "/nowhere/../link", "/proc/self/../.." + point,
	} {
		m, err := mounts.Of(path)
		if err != nil || !m.MayHang() || m.Point != point || m.Type != "fuse.runnel-hangfs" {
			t.Errorf("Of(%q) = %v, %v; want the mount %q", path, m, err, point)
		}
	}
	for _, path := range []string{dir, dir + "/other", "/etc/passwd", "/proc/self/status"} {
		if m, err := mounts.Of(path); err != nil || m.MayHang() {
			t.Errorf("Of(%q) = %v, %v; want a local mount", path, m, err)
		}
	}
	if m, err := mounts.Of("/proc/self/cwd/x"); err != nil || !m.MayHang() {
		t.Errorf("a magic link of /proc counts as one that may hang: %v, %v", m, err)
	}
	hung.Release()
	if m, err := mounts.Of(point); err != nil || m.MayHang() {
		t.Errorf("after unmounting: %v, %v", m, err)
	}
}

func TestHangfsAnswers(t *testing.T) {
	fs := hangfs.Mount(t)
	entries, err := os.ReadDir(fs.Dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	if b, err := os.ReadFile(fs.Dir + "/file"); err != nil || string(b) != "hello\n" {
		t.Errorf("file: %q, %v", b, err)
	}
	fs.Hang(hangfs.Read)
	if info, err := os.Stat(fs.Dir + "/program"); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("stat while reading hangs: %v, %v", info, err)
	}
	hung := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(fs.Dir + "/program")
		hung <- err
	}()
	fs.Answer()
	fs.Release()
	if err := <-hung; err == nil {
		t.Log("the read came after it was answered again")
	}
}
