//go:build unix

package workdir_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/runnel-io/runnel/service/workdir"
)

const prefix = "runnel-test-"

// nobody is the account that directories are given to, and the attacker's.
var nobody = workdir.Owner{UID: 65534, GID: 65534}

func text(s string) workdir.Text { return workdir.Bytes([]byte(s)) }

func newDir(t *testing.T, owner *workdir.Owner) *workdir.Dir {
	t.Helper()
	d, err := workdir.New(t.TempDir(), prefix, owner)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root gives directories away")
	}
}

func stat(t *testing.T, path string) (mode os.FileMode, uid int) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode(), int(info.Sys().(*syscall.Stat_t).Uid)
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left (%v)", path, err)
	}
}

// Rights are what was asked for, whatever the umask.
func TestDir(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	d := newDir(t, nil)
	folder, err := d.Folder("program", 0o777)
	if err != nil {
		t.Fatal(err)
	}
	script, err := d.Script("program/script", text("#!/bin/sh\necho hi\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"program/a.c", "program/lib/deep/b.c", "program/lib/c.c"} {
		if err := d.Source(name, text(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Give(), d.Give()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		d.Path(): os.ModeDir | 0o700, folder: os.ModeDir | 0o777, script: 0o700,
		filepath.Join(folder, "a.c"): 0o644, filepath.Join(folder, "lib"): os.ModeDir | 0o755, filepath.Join(folder, "lib/deep/b.c"): 0o644,
	} {
		if mode, _ := stat(t, path); mode != want {
			t.Errorf("%s: got %s, want %s", path, mode, want)
		}
	}
	if out, err := exec.Command(script).Output(); err != nil || string(out) != "hi\n" {
		t.Errorf("the script: %q, %v", out, err)
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	gone(t, d.Path())
}

// What is given away lies in a directory that stays the runner's.
func TestGive(t *testing.T) {
	needRoot(t)
	d := newDir(t, &nobody)
	if mode, uid := stat(t, d.Path()); mode.Perm() != 0o700 || uid != 0 {
		t.Errorf("before it is filled: %s, of %d", mode, uid)
	}
	script, err := d.Script("script", text("#!/bin/sh\nid -u\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Give(); err != nil {
		t.Fatal(err)
	}
	if mode, uid := stat(t, d.Path()); mode.Perm() != 0o700 || uid != nobody.UID {
		t.Errorf("what is given: %s, of %d", mode, uid)
	}
	if mode, uid := stat(t, filepath.Dir(d.Path())); mode.Perm() != 0o711 || uid != 0 {
		t.Errorf("around it: %s, of %d", mode, uid)
	}
	for at := d.Path(); at != "/"; at = filepath.Dir(at) { // TempDir's own are for root alone
		if mode, uid := stat(t, at); uid == 0 {
			if err := os.Chmod(at, mode.Perm()|0o011|mode&os.ModeSticky); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody.UID), Gid: uint32(nobody.GID)}}
	if out, err := cmd.Output(); err != nil || string(out) != fmt.Sprintln(nobody.UID) {
		t.Errorf("its account runs it: %q, %v", out, err)
	}
	if err := d.Source("late", text("x")); err == nil {
		t.Error("it was written to after it was given away")
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	gone(t, filepath.Dir(d.Path()))
}

// A name that is there already, or that leads elsewhere, is refused.
func TestNamesAreNew(t *testing.T) {
	d := newDir(t, nil)
	defer d.Remove()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link": victim, "folder": filepath.Dir(victim), "dangling": victim + "2"} {
		if err := os.Symlink(to, filepath.Join(d.Path(), name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"link", "dangling", "folder/victim", "folder/new", "../out", "/etc/x", "", "."} {
		if err := d.Source(name, text("changed")); err == nil {
			t.Errorf("%q was written", name)
		}
	}
	if _, err := d.Folder("folder", 0o700); err == nil {
		t.Error("a folder was made where a link is")
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "as it was" {
		t.Errorf("got %q, %v", got, err)
	}
	failing := errors.New("no more")
	if err := d.Source("x", func(io.Writer) error { return failing }); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
}

// A parent in which others can rename what is not theirs is refused, in words.
func TestParent(t *testing.T) {
	for _, c := range []struct {
		name string
		mode os.FileMode
		uid  int
		want string
	}{
		{"shared and sticky", 0o777 | os.ModeSticky, os.Geteuid(), ""},
		{"own", 0o700, os.Geteuid(), ""},
		{"shared", 0o777, os.Geteuid(), "is not sticky: chmod +t it, or set TMPDIR"},
		{"another's", 0o700, nobody.UID, "belongs to another account"},
	} {
		if c.uid != os.Geteuid() && os.Geteuid() != 0 {
			continue
		}
		parent := t.TempDir()
		below := filepath.Join(parent, "below")
		if err := errors.Join(os.Mkdir(below, 0o700), os.Chmod(parent, c.mode), os.Chown(parent, c.uid, -1)); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{parent, below} {
			d, err := workdir.New(at, prefix, nil)
			if c.want == "" {
				if err != nil || d.Remove() != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "cannot make the run's directory: ") {
				t.Errorf("%s: got %v", c.name, err)
			}
		}
	}
	if _, err := workdir.New(filepath.Join(t.TempDir(), "nowhere"), prefix, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no parent: %v", err)
	}
}
