package lang_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/service/lang"
)

func compiled(t *testing.T, cfg lang.Config) *lang.Toolchain {
	t.Helper()
	return warmedBy(t, cfg, "--quick")
}

// warmedBy is a compiled language whose first warm-up is this.
func warmedBy(t *testing.T, cfg lang.Config, quick string) *lang.Toolchain {
	t.Helper()
	_, dir := fakeHost(t, map[string]string{"mooc": moo})
	return theCompiler(t, cfg, filepath.Join(dir, "mooc"), quick)
}

func theCompiler(t *testing.T, cfg lang.Config, path, quick string) *lang.Toolchain {
	t.Helper()
	cfg.Environ = []string{"PATH=/usr/bin:/bin"}
	if cfg.Host != nil { // what is shown must be there
		cfg.Environ = append(cfg.Environ, "MOO_HOME=/usr")
	}
	cfg.Rows = append(cfg.Rows, lang.Row{
		Name: "moo", Programs: []string{path}, Probe: "$1", Source: "main.moo", WarmUp: [][]string{{"{program}", quick, "{cache}"}, {"{program}", "--all", "{cache}"}},
		Compile: []string{"{program}", "-o", "{out}/x", "{sources}", "--cache={cache}"}, Run: []string{"{home}/run", "{out}/x", "{stem}"},
		Env: map[string]string{"A": "{cache}", "B": "b"},
	})
	table := newTable(t, cfg)
	t.Cleanup(table.Close)
	tool, err := table.Find(t.Context(), "moo", "")
	if err != nil {
		t.Fatal(err)
	}
	if tool.Path != path {
		t.Fatalf("got %s", tool.Path)
	}
	return tool
}

// moo is a compiler that says what it is, and fills a cache.
const moo = `case $1 in
--quick|--all) echo package; echo "$1" >"$2/made" ;;
--broken) exit 1 ;;
--for-ever) sleep 1000 ;;
*) echo 1.2; echo "$0"; echo "${MOO_HOME:-/opt/moo}" ;;
esac`

// A program becomes the command lines of its steps.
func TestSteps(t *testing.T) {
	tool := compiled(t, lang.Config{})
	for _, c := range []struct {
		name                string
		source              lang.Source
		compile, run, files []string
	}{
		{"file.content", lang.Source{Main: mainOf("x"), HasMain: true, Args: []string{"{out}", "a b"}},
			[]string{"-o", "/out/x", "main.moo", "--cache=/cache"}, []string{"/opt/moo/run", "/out/x", "main", "{out}", "a b"}, []string{"main.moo"}},
		{"others beside it", lang.Source{HasMain: true, Files: []lang.File{{Name: "b.moo"}, {Name: "c.h"}, {Name: "d/e.moo"}}},
			[]string{"-o", "/out/x", "main.moo", "b.moo", "--cache=/cache"}, []string{"/opt/moo/run", "/out/x", "main"}, []string{"b.moo", "c.h", "d/e.moo", "main.moo"}},
		{"the usual name", lang.Source{Files: []lang.File{{Name: "a.moo"}, {Name: "./main.moo"}}},
			[]string{"-o", "/out/x", "main.moo", "a.moo", "--cache=/cache"}, []string{"/opt/moo/run", "/out/x", "main"}, []string{"a.moo", "main.moo"}},
		{"the first one", lang.Source{Files: []lang.File{{Name: "Start.cow"}, {Name: "a.moo"}, {Name: "b.cow"}}},
			[]string{"-o", "/out/x", "Start.cow", "b.cow", "--cache=/cache"}, []string{"/opt/moo/run", "/out/x", "Start"}, []string{"Start.cow", "a.moo", "b.cow"}},
	} {
		p, err := tool.Program(c.source)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		dirs := lang.Dirs{Source: t.TempDir(), Out: "/out", Cache: "/cache"}
		if err := writeTo(dirs.Source, p); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		compile, run := p.CompileStep(dirs), p.RunStep(dirs)
		if diff := cmp.Diff(append([]string{tool.Path}, c.compile...), compile.Spec.Argv); diff != "" {
			t.Errorf("%s: compile: %s", c.name, diff)
		}
		if diff := cmp.Diff(c.run, run.Spec.Argv); diff != "" {
			t.Errorf("%s: run: %s", c.name, diff)
		}
		if diff := cmp.Diff(c.files, filesIn(t, dirs.Source)); diff != "" {
			t.Errorf("%s: files: %s", c.name, diff)
		}
		if diff := cmp.Diff([]string{"A=/cache", "B=b"}, run.Spec.Params); diff != "" {
			t.Errorf("%s: params: %s", c.name, diff)
		}
		// The run step may look at what was compiled, and not change it.
		if diff := cmp.Diff([]string{"/opt/moo", filepath.Dir(tool.Path), "/out"}, run.Spec.ReadOnly); diff != "" || len(run.Spec.Writable) > 0 || compile.Spec.Writable[0] != "/out" {
			t.Errorf("%s: %+v", c.name, run.Spec)
		}
	}
}

func filesIn(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Whatever names a stranger gives, nothing is written outside the directory.
func TestFilesStayInside(t *testing.T) {
	tool := compiled(t, lang.Config{})
	part := rapid.SampledFrom([]string{"..", ".", "a", "b", "", "/", "-x", "a\\b", "c d", "é", "\x00", "main.moo", "con"})
	rapid.Check(t, func(t *rapid.T) {
		var src lang.Source
		for range rapid.IntRange(1, 4).Draw(t, "files") {
			src.Files = append(src.Files, lang.File{Name: strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "name"), "/"), Content: "x"})
		}
		p, err := tool.Program(src)
		if err != nil {
			return
		}
		outside, err := os.MkdirTemp("", "lang-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(outside)
		inside := filepath.Join(outside, "1", "2", "3", "4", "5", "in")
		if err := os.MkdirAll(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeTo(inside, p); err != nil {
			t.Fatalf("%+v: %v", src, err)
		}
		var found int
		_ = filepath.WalkDir(outside, func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				found++
				if !strings.HasPrefix(path, inside+"/") {
					t.Errorf("%+v: wrote %s", src, path)
				}
			}
			return nil
		})
		if found != len(src.Files) {
			t.Errorf("%+v: %d files", src, found)
		}
	})
}
