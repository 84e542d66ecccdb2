package lang_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/sandbox"
)

func program(t *testing.T, tool *lang.Toolchain, text string) *lang.Program {
	t.Helper()
	p, err := tool.Program(lang.Source{Main: mainOf(text), HasMain: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mainOf(text string) func(<-chan struct{}, io.Writer) error {
	return func(_ <-chan struct{}, w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// writeTo puts a program's files into a directory.
func writeTo(dir string, p *lang.Program) error {
	return p.Write(nil, func(name string, text lang.Text) error {
		var b bytes.Buffer
		path := filepath.Join(dir, filepath.FromSlash(name))
		return errors.Join(text(&b), os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b.Bytes(), 0o644))
	})
}

// made is a directory with what a compiler could have made.
func made(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "classes"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"main": strings.Repeat("x", bytes), "classes/A.class": "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What was kept comes back, and only for the very same program.
func TestCache(t *testing.T) {
	dir := t.TempDir()
	table := newTable(t, lang.Config{Dir: dir})
	cache, tool := table.Cache(), compiled(t, lang.Config{})
	key := program(t, tool, "x").Key(sandbox.Strict)
	if key != program(t, tool, "x").Key(sandbox.Strict) {
		t.Error("the same program has two keys")
	}
	if key == program(t, tool, "y").Key(sandbox.Strict) || key == program(t, tool, "x").Key(sandbox.Standard) {
		t.Error("two programs have one key")
	}
	if cache.Restore(key, t.TempDir()) {
		t.Fatal("something is in a new cache")
	}
	if err := cache.Keep(key, made(t, 1000)); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	if !cache.Restore(key, into) {
		t.Fatal("it was not kept")
	}
	if diff := cmp.Diff([]string{"classes/A.class", "main"}, filesIn(t, into)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(into, "main")); err != nil || info.Size() != 1000 || runtime.GOOS != "windows" && info.Mode().Perm() != 0o755 {
		t.Errorf("got %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "compiled")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("others can see the cache: %v, %v", info, err)
	}
	// What somebody has changed is as if it had never been there.
	changed, err := os.ReadFile(filepath.Join(dir, "compiled", key))
	if err != nil {
		t.Fatal(err)
	}
	changed[600] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "compiled", key), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	into = t.TempDir()
	if cache.Restore(key, into) || len(filesIn(t, into)) > 0 {
		t.Errorf("a changed entry came back, with %v", filesIn(t, into))
	}
	if cache.Restore(key, into) {
		t.Error("a changed entry came back the second time")
	}
	// And what an earlier life has left is nothing to this one.
	if err := cache.Keep(key, made(t, 10)); err != nil {
		t.Fatal(err)
	}
	if newTable(t, lang.Config{Dir: dir}).Cache().Restore(key, t.TempDir()) {
		t.Error("an entry of an earlier life came back")
	}
}

// The cache stays within its bounds; what was used last stays longest.
func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	cache := newTable(t, lang.Config{Dir: dir, CacheMaxBytes: 35_000}).Cache()
	for _, key := range []string{"a", "b", "c"} {
		if err := cache.Keep(key, made(t, 10_000)); err != nil {
			t.Fatal(err)
		}
		cache.Restore("a", t.TempDir())
	}
	got := map[string]bool{}
	for _, key := range []string{"a", "b", "c"} {
		got[key] = cache.Restore(key, t.TempDir())
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": false, "c": true}, got); diff != "" {
		t.Error(diff)
	}
	if err := cache.Keep("big", made(t, 100_000)); err != nil || cache.Restore("big", t.TempDir()) {
		t.Errorf("what is bigger than the cache: %v", err)
	}
	if files := filesIn(t, filepath.Join(dir, "compiled")); len(files) != 2 {
		t.Errorf("left %v", files)
	}
	var none *lang.Cache
	if none.Restore("a", t.TempDir()) || none.Keep("a", made(t, 1)) != nil {
		t.Error("no cache is none")
	}
}
