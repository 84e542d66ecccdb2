//go:build unix

package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// searched is a directory with what a PATH may lead to.
func searched(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"first/tool": 0o755, "second/tool": 0o755, "second/plain": 0o644, "third/plain": 0o755, "second/deep/x": 0o755} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "first/dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "first/loop")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLookProgram(t *testing.T) {
	dir := searched(t)
	path := "PATH=" + strings.Join([]string{"/nowhere", dir + "/first", "second", dir + "/third"}, ":")
	for _, c := range []struct {
		name, env, found string
		words            string // of the error
	}{
		{name: "tool", env: path, found: dir + "/first/tool"},
		{name: "tool", env: "PATH=second:first", found: dir + "/second/tool"},
		{name: "tool", env: "PATH=:first", found: dir + "/first/tool"},
		{name: "plain", env: path, found: dir + "/third/plain"}, // what may not be executed is passed over
		{name: "plain", env: "PATH=second", words: "permission denied: it has no execute bit"},
		{name: "second/plain", env: path, words: "permission denied: it has no execute bit"},
		{name: "./first/tool", env: "PATH=", found: dir + "/first/tool"},
		{name: dir + "/first/tool", env: "", found: dir + "/first/tool"},
		{name: "second/deep", env: path, words: "it is a directory"},
		{name: "deep", env: "PATH=second", words: "no such program in $PATH"},
		{name: "none", env: path, words: "no such program in $PATH"},
		{name: "dangling", env: path, words: "no such program in $PATH"},
		{name: "first/loop", env: path, words: "too many levels of symbolic links"},
		{name: "first/tool/x", env: path, words: "not a directory"},
		{name: "true", env: "OTHER=", found: "/bin/true"}, // as execvp without a PATH
		{name: "", env: path, words: "its name is empty"},
		{name: strings.Repeat("x", 300), env: path, words: "no such program in $PATH"},
	} {
		found, err := lookProgram(c.name, dir, []string{"PATH=/wrong", c.env}[1:], account{})
		switch {
		case c.words == "" && (err != nil || found != c.found):
			t.Errorf("%q in %s: %q, %v; want %s", c.name, c.env, found, err, c.found)
		case c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)):
			t.Errorf("%q in %s: %q, %v; want %q", c.name, c.env, found, err, c.words)
		}
	}
	if _, err := lookProgram("none", dir, []string{path}, account{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if _, err := lookProgram("plain", dir, []string{"PATH=second"}, account{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("plain: %v", err)
	}
}

// The program is in the fifth of six directories, as most are.
func BenchmarkLookProgram(b *testing.B) {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/usr/bin:/bin"}
	for b.Loop() {
		if _, err := lookProgram("true", "", env, account{}); err != nil {
			b.Fatal(err)
		}
	}
}
