package workdir_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/workdir"
)

var tries = flag.Int("tries", 50, "tries of each attack of TestNobodyLeadsRootAstray; task prove makes 1000")

// TestMain is the attacker as well.
func TestMain(m *testing.M) {
	if parent := os.Getenv("ATTACK_PARENT"); parent != "" {
		attack(parent, os.Getenv("ATTACK_VICTIM"))
	}
	os.Exit(m.Run())
}

// attack is what a run's account can do beside the runner: in every directory of
// a run that there is, and in what lies in it, it puts links to the victim in the
// place of whatever has a name there, and gives names that are still to come.
func attack(parent, victim string) {
	fmt.Println("ready")
	names := []string{"script", "run", "program", "out", "main.sh", "lib", "helper.sh", "main"}
	var swap func(dir string, depth int)
	swap = func(dir string, depth int) {
		entries, _ := os.ReadDir(dir)
		for _, name := range names {
			_ = os.Symlink(victim, filepath.Join(dir, name))
		}
		for i, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			if depth < 4 && entry.IsDir() {
				swap(path, depth+1)
				_ = os.WriteFile(filepath.Join(path, fmt.Sprint("more", i)), nil, 0o600)
			}
			_ = os.Rename(path, fmt.Sprintf("%s.was%d", path, i))
			_ = os.Symlink(victim, path)
			_ = os.Link(filepath.Join(victim, "file"), path+".second")
		}
	}
	for {
		found, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
		for _, dir := range found {
			swap(dir, 0)
		}
	}
}

// stage is a parent that everybody may write to, as /tmp is, and a victim that
// everybody can see, with the attacker at work.
type stage struct {
	t              *testing.T
	parent, victim string
	before         string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	needRoot(t)
	root, err := os.MkdirTemp("/tmp", "attack-") // TempDir's parent is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	s := &stage{t: t, parent: filepath.Join(root, "parent"), victim: filepath.Join(root, "victim")}
	err = errors.Join(os.Chmod(root, 0o755), os.Mkdir(s.parent, 0), os.Chmod(s.parent, 0o777|os.ModeSticky),
		os.Mkdir(s.victim, 0o755), os.WriteFile(filepath.Join(s.victim, "file"), []byte("as it was"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	s.before = s.look()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"ATTACK_PARENT=" + s.parent, "ATTACK_VICTIM=" + s.victim}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Credential: &syscall.Credential{Uid: uint32(nobody.UID), Gid: uint32(nobody.GID)}}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatalf("the attacker: %v", err)
	}
	return s
}

// look is everything of the victim that could have been changed.
func (s *stage) look() string {
	var all strings.Builder
	err := filepath.WalkDir(s.victim, func(path string, _ os.DirEntry, err error) error {
		var stat unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &stat)
		}
		text, _ := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %o %d %d %q\n", path, stat.Mode, stat.Uid, stat.Gid, text)
		return err
	})
	if err != nil {
		s.t.Fatalf("the victim: %v", err)
	}
	return all.String()
}

// Root writes, gives away, looks at, shares and removes the directory of an
// account that does all it can to have that done to another's files.
func TestNobodyLeadsRootAstray(t *testing.T) {
	for _, c := range []struct {
		name string
		fill func(d *workdir.Dir) error
	}{
		{"script", func(d *workdir.Dir) error {
			_, err := d.Script("script", text("#!/bin/sh\n"))
			return err
		}},
		{"language", func(d *workdir.Dir) error {
			_, err := d.Folder("program", 0o700)
			if err == nil {
				_, err = d.Folder("out", 0o700)
			}
			return errors.Join(err, d.Source("program/main.sh", text("echo")))
		}},
		{"files", func(d *workdir.Dir) error {
			_, err := d.Folder("program", 0o777)
			for _, name := range []string{"program/main.sh", "program/lib/helper.sh", "program/lib/run/main"} {
				err = errors.Join(err, d.Source(name, text("echo")))
			}
			return err
		}},
		{"removal", func(d *workdir.Dir) error {
			for _, name := range []string{"a/b/c/main", "a/d/main", "e/main"} {
				if err := d.Source(name, text("x")); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, left := newStage(t), 0
			for range *tries {
				d, err := workdir.New(s.parent, prefix, &nobody)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(c.fill(d), d.Give()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Microsecond) // the run
				_ = workdir.CheckOut(filepath.Join(d.Path(), "out"))
				_ = workdir.Share(filepath.Join(d.Path(), "out"), 0o666) // what it finds is the attacker's choice, and may be refused
				began := time.Now()
				if err := d.Remove(); errors.Is(err, workdir.ErrBusy) {
					left++
				} else if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 50*time.Second {
					t.Fatalf("the removal took %s", took)
				}
				if now := s.look(); now != s.before {
					t.Fatalf("the victim was\n%sand is\n%s", s.before, now)
				}
			}
			if left > 0 {
				t.Errorf("%d of %d directories could not be removed", left, *tries)
			}
		})
	}
}
