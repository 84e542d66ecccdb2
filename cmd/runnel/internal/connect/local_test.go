package connect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/natscontext"

	"github.com/runnel-io/runnel/service/lockfile"
)

// home is a home with nothing in it.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	return dir
}

// running is a local server, as far as its lock tells.
func running(t *testing.T, name string, started time.Time) *Local {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := lockfile.Try(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Unlock() })
	return &Local{Name: name, URL: "nats://127.0.0.1/" + name, Lock: path, PID: os.Getpid(), Started: started}
}

func leave(t *testing.T, l *Local) {
	t.Helper()
	if err := l.Leave(); err != nil {
		t.Fatal(err)
	}
}

func TestLocalServersAreFound(t *testing.T) {
	dir := home(t)
	if found, others, err := FindLocal(); found != nil || others != 0 || err != nil {
		t.Errorf("got %v, %d, %v in an empty home", found, others, err)
	}
	now := time.Now()
	first, second := running(t, "first", now.Add(-time.Minute)), running(t, "second", now)
	leave(t, second)
	leave(t, first)
	found, others, err := FindLocal()
	if err != nil || others != 1 || found.Name != "second" {
		t.Errorf("got %v, %d, %v, want the second one", found, others, err)
	}
	if !isLocalAlive(first.URL) || isLocalAlive("nats://elsewhere") {
		t.Error("which URLs are alive is wrong")
	}
	if info, err := os.Stat(filepath.Join(dir, "data", "runnel", "local", "first.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file that only its owner reads", info, err)
	}
	if err := second.TakeAway(); err != nil {
		t.Fatal(err)
	}
	if found, others, err = FindLocal(); err != nil || others != 0 || found.Name != "first" {
		t.Errorf("got %v, %d, %v, want the first one", found, others, err)
	}
	if err := second.TakeAway(); err != nil { // twice is once
		t.Error(err)
	}
	if err := (&Local{}).TakeAway(); err != nil { // nothing was left
		t.Error(err)
	}
}

// Two servers of one name have a file each, and take away their own.
func TestLocalServersOfOneName(t *testing.T) {
	home(t)
	a, b := running(t, "web", time.Now()), running(t, "web", time.Now().Add(time.Second))
	b.PID++
	leave(t, a)
	leave(t, b)
	if _, others, err := FindLocal(); err != nil || others != 1 {
		t.Errorf("got %d others, %v, want both", others, err)
	}
	if err := b.TakeAway(); err != nil {
		t.Fatal(err)
	}
	if found, _, err := FindLocal(); err != nil || found == nil || found.PID != a.PID {
		t.Errorf("got %v, %v, want the other one", found, err)
	}
}

func TestRubbishOfALocalServer(t *testing.T) {
	home(t)
	l := running(t, "web", time.Now())
	leave(t, l)
	if err := os.WriteFile(l.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := FindLocal(); err == nil || !strings.Contains(err.Error(), "cannot read what runnel serve left in "+l.path) {
		t.Errorf("got %v", err)
	}
}

func TestContextsOfLocalServers(t *testing.T) {
	home(t)
	l := running(t, "web", time.Now())
	leave(t, l)
	for range 2 { // its own is written again
		if name, err := l.WriteNATSContext(); err != nil || name != "runnel-web" {
			t.Fatalf("got %q, %v", name, err)
		}
	}
	if context, err := natscontext.New("runnel-web", true); err != nil || context.ServerURL() != l.URL {
		t.Errorf("got %v, %v", context, err)
	}
	if natscontext.SelectedContext() != "" {
		t.Error("a context was selected")
	}
	other := running(t, "web", time.Now())
	other.URL = "nats://127.0.0.1/other"
	if _, err := other.WriteNATSContext(); err == nil || !strings.Contains(err.Error(), "another runnel serve, which is running") {
		t.Errorf("got %v, want that the first one keeps it", err)
	}
	byHand, err := natscontext.New("runnel-db", false, natscontext.WithServerURL("nats://db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := byHand.Save("runnel-db"); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Local{Name: "db", URL: "nats://x"}).WriteNATSContext(); err == nil || !strings.Contains(err.Error(), "of another making") {
		t.Errorf("got %v, want that it stays", err)
	}
}

func TestDirectoriesOfAUser(t *testing.T) {
	dir := home(t)
	if got, err := UserDataDir(); err != nil || got != filepath.Join(dir, "data", "runnel") {
		t.Errorf("got %s, %v", got, err)
	}
	t.Setenv("XDG_DATA_HOME", "")
	if got, err := UserDataDir(); err != nil || got != filepath.Join(dir, ".local", "share", "runnel") {
		t.Errorf("got %s, %v", got, err)
	}
}

// A relative path in the environment would be another one in every directory.
func TestRelativeDirectoriesAreIgnored(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "data")
	if dir, err := UserDataDir(); err != nil || dir != filepath.Join(home, ".local", "share", "runnel") {
		t.Errorf("got %q, %v", dir, err)
	}
	t.Setenv("HOME", "here")
	if dir, err := HomeDir(); err == nil && !filepath.IsAbs(dir) {
		t.Errorf("got the home %q", dir)
	}
}
