package lang_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/hangfs"
)

// TestMain is what isolates the warm-up, and what serves file systems that hang.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	hangfs.Main()
	os.Exit(m.Run())
}

func strictHost(t *testing.T) *sandbox.Host {
	t.Helper()
	host, err := sandbox.Open(sandbox.Config{Prefix: "lang-test-" + filepath.Base(t.TempDir()) + "-"})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { host.Close() })
	if !slices.Contains(host.Probe().Isolation, sandbox.Strict) {
		t.Skipf("this host can't isolate: %v", host.Facts().NoIsolation)
	}
	return host
}

// last waits for the last stage.
func last(t *testing.T, tool *lang.Toolchain) (dir string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if dir = tool.WarmDir(); strings.HasSuffix(dir, ".1") || time.Now().After(deadline) {
			return dir
		}
	}
}

// What a language has to warm is made once, stage by stage, in the background, and is there in the
// next life, but not for another compiler of the same name.
func TestWarm(t *testing.T) {
	cfg := lang.Config{Dir: t.TempDir(), Host: strictHost(t), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	tool := compiled(t, cfg)
	if tool.IsWarm() {
		t.Error("it is warm before anything was made")
	}
	never := make(chan struct{})
	tool.AwaitWarm(never)
	dir := last(t, tool)
	text, err := os.ReadFile(filepath.Join(dir, "made"))
	if err != nil || string(text) != "--all\n" || !tool.IsWarm() {
		t.Fatalf("got %q, %v in %q", text, err, dir)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("others may write to it: %v, %v", info.Mode(), err)
	}
	first, err := os.Stat(filepath.Join(dir, "made"))
	if err != nil {
		t.Fatal(err)
	}
	if next := theCompiler(t, cfg, tool.Path, "--quick"); next.WarmDir() != dir || !next.IsWarm() {
		t.Errorf("the next life has %q, want %q", next.WarmDir(), dir)
	}
	if now, err := os.Stat(filepath.Join(dir, "made")); err != nil || !now.ModTime().Equal(first.ModTime()) {
		t.Errorf("it was made again: %v", err)
	}
	other := time.Now().Add(-time.Hour)
	if err := os.Chtimes(tool.Path, other, other); err != nil {
		t.Fatal(err)
	}
	changed := theCompiler(t, cfg, tool.Path, "--quick")
	if changed.IsWarm() {
		t.Error("another compiler is warm at once")
	}
	changed.AwaitWarm(never)
	if got := last(t, changed); got == dir || got == "" {
		t.Errorf("another compiler has %q", got)
	}
}

// A warm-up that fails keeps nobody: programs are compiled without.
func TestWarmFails(t *testing.T) {
	cfg := lang.Config{Dir: t.TempDir(), Host: strictHost(t), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	tool := warmedBy(t, cfg, "--broken")
	tool.AwaitWarm(make(chan struct{}))
	if dir := tool.WarmDir(); dir != "" || !tool.IsWarm() {
		t.Errorf("got %q", dir)
	}
	if left := filesIn(t, filepath.Join(cfg.Dir, "warm")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// Whoever waits can give up, and a table that is closed ends what goes on.
func TestWarmIsGivenUp(t *testing.T) {
	cfg := lang.Config{Dir: t.TempDir(), Host: strictHost(t), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	tool := warmedBy(t, cfg, "--for-ever")
	gone := make(chan struct{})
	close(gone)
	tool.AwaitWarm(gone)
	if tool.IsWarm() {
		t.Error("it is warm")
	}
}

// What programs say of themselves is remembered as long as they are the same.
func TestProbesAreRemembered(t *testing.T) {
	dir, count := t.TempDir(), filepath.Join(t.TempDir(), "count")
	if err := os.WriteFile(count, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environ, bin := fakeHost(t, map[string]string{"moo": "echo x >>" + count + "; echo 1.2; echo $0"})
	row := lang.Row{Name: "moo", Programs: []string{"moo"}, Probe: `"$1"`, Source: "main.moo", Run: []string{"{program}"}}
	asked := func() int {
		table := newTable(t, lang.Config{Environ: environ, Dir: dir, Rows: []lang.Row{row}})
		if got := strings.Join(table.List(t.Context()), ";"); !strings.Contains(got, "moo 1.2") {
			t.Errorf("got %s", got)
		}
		text, err := os.ReadFile(count)
		if err != nil {
			t.Fatal(err)
		}
		return len(text) / 2
	}
	if first, second := asked(), asked(); first != 1 || second != 1 {
		t.Errorf("asked %d times, and then %d in all", first, second)
	}
	now := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(bin, "moo"), now, now); err != nil {
		t.Fatal(err)
	}
	if third := asked(); third != 2 {
		t.Errorf("a program that has changed: asked %d times", third)
	}
}

// A row may have a source to compile instead of a command line.
func TestWarmSource(t *testing.T) {
	cfg := lang.Config{Dir: t.TempDir(), Host: strictHost(t), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	environ, dir := fakeHost(t, map[string]string{"cow": `case $1 in -o) cat "$2" >"$3/made" ;; *) echo 5.0 ;; esac`})
	cfg.Rows = []lang.Row{{
		Name: "cow", Programs: []string{filepath.Join(dir, "cow")}, Source: "main.cow", Warm: "moo\n",
		Compile: []string{"{program}", "-o", "{sources}", "{cache}"}, Run: []string{"{out}/x"},
	}}
	cfg.Environ = environ
	table := newTable(t, cfg)
	defer table.Close()
	tool, err := table.Find(t.Context(), "cow", "5")
	if err != nil {
		t.Fatal(err)
	}
	tool.AwaitWarm(make(chan struct{}))
	if text, err := os.ReadFile(filepath.Join(tool.WarmDir(), "made")); err != nil || string(text) != "moo\n" {
		t.Errorf("got %q, %v", text, err)
	}
}
