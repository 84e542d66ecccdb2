package lang_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service/lang"
)

// fakeHost is a PATH with programs in it, by name and text.
func fakeHost(t *testing.T, programs map[string]string) (environ []string, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	dir = t.TempDir()
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"PATH=relative:" + dir + ":/usr/bin:/bin"}, dir
}

func newTable(t *testing.T, cfg lang.Config) *lang.Table {
	t.Helper()
	table, err := lang.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A row finds its versions, the first one first, each once, and what is broken not at all.
func TestVersions(t *testing.T) {
	environ, dir := fakeHost(t, map[string]string{
		"moo": "echo moo version 3.2.1", "moo2.7": "echo 2.7", "moo2.8": "echo no version here", "moo2.9": "exit 1", "moo3.2": "echo 3.2.1 again",
		"other": `echo 9; echo /opt/other/bin/other; echo /opt/other; echo /; echo relative; echo "$HOME"`,
	})
	table := newTable(t, lang.Config{Environ: environ, Rows: []lang.Row{
		{Name: "moo", Aliases: []string{"cow", "py"}, Programs: []string{"moo", "moo[0-9].[0-9]"}, Source: "main.moo", Run: []string{"{program}"}},
		{Name: "other", Programs: []string{"nothing", "other"}, Probe: "$1", Source: "x", Run: []string{"{program}"}},
		{Name: "perl", Programs: []string{"no-such-perl"}, Source: "x", Run: []string{"{program}"}},
	}})
	list := table.List(t.Context())
	for _, want := range []string{"moo 3.2.1 2.7", "other 9"} {
		if !strings.Contains(strings.Join(list, "\n")+"\n", want+"\n") {
			t.Errorf("got %q, without %q", list, want)
		}
	}
	if strings.Contains(strings.Join(list, "\n"), "perl") {
		t.Errorf("got %q: the operator's perl isn't there", list)
	}
	for _, c := range []struct{ name, version, want, problem string }{
		{"moo", "", "3.2.1", ""}, {"COW", "3", "3.2.1", ""}, {"py", "2.7", "2.7", ""}, {"moo", "3.2.1", "3.2.1", ""},
		{"moo", "3.2.1.0", "", `no version "3.2.1.0"; it has 3.2.1, 2.7`}, {"moo", "2", "2.7", ""}, {"moo", "3.", "", "no version"},
		{"perl", "", "", "language perl: this host has no no-such-perl"}, {"cobol", "", "", `there is no language "cobol"; this runner knows moo, other, perl, bash`},
	} {
		tool, err := table.Find(t.Context(), c.name, c.version)
		switch {
		case err != nil && (c.problem == "" || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s %s: %v", c.name, c.version, err)
		case err == nil && tool.Version != c.want:
			t.Errorf("%s %s: got %s, want %s", c.name, c.version, tool, c.want)
		}
	}
	other, err := table.Find(t.Context(), "other", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/opt/other"}, other.Show); diff != "" || other.Path != "/opt/other/bin/other" {
		t.Errorf("%s: %s", other.Path, diff)
	}
	moo, err := table.Find(t.Context(), "moo", "2.7")
	if err != nil || moo.Path != filepath.Join(dir, "moo2.7") {
		t.Errorf("got %v, %v", moo, err)
	}
	if name, ok := table.Name("Cow"); name != "moo" || !ok {
		t.Errorf("got %q", name)
	}
	// What was not there may have come since.
	if err := os.WriteFile(filepath.Join(dir, "no-such-perl"), []byte("#!/bin/sh\necho 5"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Find(t.Context(), "perl", ""); err != nil {
		t.Error(err)
	}
}

// A row that can't work is refused at the start, in words.
func TestBadRows(t *testing.T) {
	good := lang.Row{Name: "moo", Programs: []string{"moo"}, Source: "main.moo", Run: []string{"{program}"}}
	newTable(t, lang.Config{Rows: []lang.Row{good}})
	for problem, change := range map[string]func(*lang.Row){
		"small letters":       func(r *lang.Row) { r.Name = "Moo Cow" },
		"programs":            func(r *lang.Row) { r.Programs = nil },
		"neither a name":      func(r *lang.Row) { r.Programs = []string{"bin/moo"} },
		"run is empty":        func(r *lang.Row) { r.Run = nil },
		"source":              func(r *lang.Row) { r.Source = "../x" },
		"{nope}":              func(r *lang.Row) { r.Run = []string{"{nope}"} },
		"a word of its own":   func(r *lang.Row) { r.Compile = []string{"x{sources}"} },
		"warm goes with":      func(r *lang.Row) { r.Warm = "x" },
		"a name of c already": func(r *lang.Row) { r.Aliases = []string{"c"}; r.Name = "c" },
	} {
		row := good
		change(&row)
		if _, err := lang.New(lang.Config{Rows: []lang.Row{row}}); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: got %v", problem, err)
		}
	}
}
