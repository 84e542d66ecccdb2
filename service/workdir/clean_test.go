//go:build unix

package workdir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/workdir"
)

// made is a directory with what a run could have left.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "classes"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main", "classes/A.class"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Folders that a run has shut, links, pipes and names of any kind go, and what
// links lead to stays.
func TestRemove(t *testing.T) {
	parent, victim := t.TempDir(), made(t)
	tree := filepath.Join(parent, "tree")
	for _, name := range []string{"a/b/c", "shut/in"} {
		if err := os.MkdirAll(filepath.Join(tree, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink(victim, filepath.Join(tree, "a", "link")), os.Symlink("/nowhere", filepath.Join(tree, "a", "b", "-f")),
		unix.Mkfifo(filepath.Join(tree, "pipe\n"), 0), os.Link(filepath.Join(victim, "main"), filepath.Join(tree, "second name")),
		os.Chmod(filepath.Join(tree, "shut", "in"), 0), os.Chmod(filepath.Join(tree, "shut"), 0))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is once
		if err := workdir.Remove(parent, "tree"); err != nil {
			t.Fatal(err)
		}
	}
	gone(t, tree)
	for _, name := range []string{"main", "classes/A.class"} {
		if _, err := os.Stat(filepath.Join(victim, name)); err != nil {
			t.Error(err)
		}
	}
	link := filepath.Join(parent, "itself")
	if err := errors.Join(os.Symlink(victim, link), workdir.Remove(parent, "itself")); err != nil {
		t.Fatal(err)
	}
	gone(t, link)
}

// However deep a tree is, a removal needs few descriptors.
func TestRemoveDeep(t *testing.T) {
	parent := t.TempDir()
	fd, err := unix.Open(parent, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for range 3000 {
		if err == nil {
			err = unix.Mkdirat(fd, "d", 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		next, openErr := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		unix.Close(fd)
		fd, err = next, openErr
	}
	unix.Close(fd)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = 200
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	if err := workdir.Remove(parent, "d"); err != nil {
		t.Fatal(err)
	}
	gone(t, filepath.Join(parent, "d"))
}

// Sweep takes what has the prefix, and nothing else.
func TestSweep(t *testing.T) {
	parent := t.TempDir()
	for _, name := range []string{prefix + "a/b", prefix + "c", "runnel-other", "x-" + prefix} {
		if err := os.MkdirAll(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := workdir.Sweep(parent, prefix); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 2 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := workdir.Empty(parent); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Only files and folders, and not too many, are what a compiler makes.
func TestCheckOut(t *testing.T) {
	dir := made(t)
	if err := workdir.CheckOut(dir); err != nil {
		t.Error(err)
	}
	if err := workdir.CheckOut(t.TempDir()); !errors.Is(err, workdir.ErrNothingMade) {
		t.Errorf("nothing was taken: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "classes", "link")); err != nil {
		t.Fatal(err)
	}
	if err := workdir.CheckOut(dir); err == nil || !strings.Contains(err.Error(), "classes/link is neither a file nor a folder") {
		t.Errorf("a link: %v", err)
	}
	big := filepath.Join(made(t), "main")
	if err := os.Truncate(big, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := workdir.CheckOut(filepath.Dir(big)); err == nil || !strings.Contains(err.Error(), "512 MiB") {
		t.Errorf("a big one: %v", err)
	}
	deep := t.TempDir()
	if err := os.MkdirAll(filepath.Join(deep, strings.Repeat("d/", 200)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := workdir.CheckOut(deep); err == nil || !strings.Contains(err.Error(), "one in the other") {
		t.Errorf("a deep one: %v", err)
	}
}

// Share changes nothing but the run's own files.
func TestShare(t *testing.T) {
	dir, victim := made(t), filepath.Join(t.TempDir(), "victim")
	err := errors.Join(os.WriteFile(victim, nil, 0o600), os.Symlink(victim, filepath.Join(dir, "link")), os.Chmod(filepath.Join(dir, "classes"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	if err := workdir.ShareOut(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"main": 0o755, "classes": os.ModeDir | 0o755, "classes/A.class": 0o755} {
		if mode, _ := stat(t, filepath.Join(dir, name)); mode != want {
			t.Errorf("%s: %s", name, mode)
		}
	}
	if err := os.Link(victim, filepath.Join(dir, "second")); err != nil {
		t.Fatal(err)
	}
	if err := workdir.Share(dir, 0o666); err == nil || !strings.Contains(err.Error(), "a second name") {
		t.Errorf("got %v", err)
	}
	if mode, _ := stat(t, victim); mode != 0o600 {
		t.Errorf("the victim's rights are %s", mode)
	}
}
