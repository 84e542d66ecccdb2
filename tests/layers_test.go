package tests

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/runnel-io/runnel/"

// everything in a cell of the table allows every import.
const everything = "all"

// The table in docs/architecture.md is the law: no package imports what its row
// does not name, on any system, and no row names what its package does not import.
func TestLayers(t *testing.T) {
	table := layersTable(t)
	used := map[string]map[string]bool{}
	for file, imports := range sourceImports(t) {
		room := roomOf(table, path.Dir(file))
		if room == "" {
			t.Errorf("%s: docs/architecture.md has no row for its package", file)
			continue
		}
		if used[room] == nil {
			used[room] = map[string]bool{}
		}
		for _, imported := range imports {
			other := roomOf(table, imported)
			if other == room {
				continue
			}
			used[room][other] = true
			if !slices.Contains(table[room], everything) && !slices.Contains(table[room], other) {
				t.Errorf("%s imports %s: docs/architecture.md does not allow it to %s", file, imported, room)
			}
		}
	}
	for _, room := range slices.Sorted(maps.Keys(table)) {
		if used[room] == nil {
			t.Errorf("docs/architecture.md has a row for %s, which is no package", room)
		}
		for _, allowed := range table[room] {
			if allowed != everything && !used[room][allowed] {
				t.Errorf("docs/architecture.md lets %s import %s, which it does not", room, allowed)
			}
		}
	}
}

// layersTable reads the table: for each package, what it may import of ours. In
// a cell a package may leave out "service/" or "cmd/runnel/internal/".
func layersTable(t *testing.T) map[string][]string {
	t.Helper()
	document, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\|.*\\| ([^|]*) \\|$")
	cells := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(string(document), -1) {
		cells[match[1]] = match[2]
	}
	if len(cells) < 10 {
		t.Fatalf("docs/architecture.md: the table has %d rows that can be read", len(cells))
	}
	table := map[string][]string{}
	for room, cell := range cells {
		table[room] = nil
		if cell == "–" {
			continue
		}
		for name := range strings.SplitSeq(cell, ", ") {
			name = strings.Trim(name, "`")
			switch _, whole := cells[name]; {
			case whole, name == everything:
			case cells["service/"+name] != "":
				name = "service/" + name
			case cells["cmd/runnel/internal/"+name] != "":
				name = "cmd/runnel/internal/" + name
			default:
				t.Errorf("docs/architecture.md, row %s: %q is no package of the table", room, name)
			}
			table[room] = append(table[room], name)
		}
	}
	return table
}

// sourceImports gives, for each Go file that is not a test, the packages of ours
// that it imports. Build constraints are not heeded: all systems count.
func sourceImports(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || len(entry.Name()) > 2 && entry.Name()[0] == '.'):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("..", file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		files[name] = nil
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, module); ok {
				files[name] = append(files[name], ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// roomOf is the row of the table that a package has: its own, or the one of the
// package that it is a part of.
func roomOf(table map[string][]string, name string) string {
	for ; name != "."; name = path.Dir(name) {
		if _, has := table[name]; has {
			return name
		}
		if path.Dir(name) == "service" || path.Dir(name) == "cmd" {
			return "" // a neighbour of the wiring is not a part of it
		}
	}
	return ""
}
