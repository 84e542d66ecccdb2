package tests

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers is the import table of docs/architecture.md: what each package may
// import of ours. To add an arrow, change it here and there, in one commit.
var layers = map[string][]string{
	"subjects":        {},
	"pb":              {},
	"embedded":        {},
	"service/lines":   {},
	"service/sandbox": {},
	"service/policy":  {"pb", "subjects"},
	"service/glance":  {"pb", "service/policy"},
	"service/maint":   {"pb"},
	"service/store":   {"pb", "subjects"},
	"service/logs":    {"pb", "subjects", "service/lines"},
	"service/run":     {"pb", "subjects", "service/lines", "service/sandbox", "service/lang", "service/store", "service/logs"},
	"service":         {"pb", "subjects", "service/policy", "service/glance", "service/maint", "service/run", "service/lang", "service/sandbox", "service/store", "service/logs"},
	"service/client":  {"pb", "subjects", "service/store", "service/logs", "service/lines"},
	"service/lang":    {"service/sandbox"},
	"cmd/runnel-shim": {"service/sandbox"},
	"cmd/runnel":      {"*"},
	"tests":           {"*"},
}

const module = "github.com/runnel-io/runnel/"

func TestLayers(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath string
			Imports    []string // those of _test.go files are not in here
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		seen++
		room := roomOf(name)
		allowed, known := layers[room]
		if !known {
			t.Errorf("%s is in no room of the table", name)
			continue
		}
		for _, i := range p.Imports {
			i, ours := strings.CutPrefix(i, module)
			if ours && roomOf(i) != room && !slices.Contains(allowed, "*") && !slices.Contains(allowed, roomOf(i)) {
				t.Errorf("%s imports %s: that arrow is not in the table", name, i)
			}
		}
	}
	if seen == 0 {
		t.Fatal("go list shows none of our packages")
	}
}

// roomOf is the longest row of the table that a package lives under.
func roomOf(name string) string {
	best := name
	found := ""
	for room := range layers {
		if (name == room || strings.HasPrefix(name, room+"/")) && len(room) > len(found) {
			found = room
		}
	}
	if found != "" && found != "service" && found != "cmd" {
		return found
	}
	return best
}

// The table in the docs is the one that is enforced.
func TestTableInDocs(t *testing.T) {
	for room := range layers {
		if !strings.Contains(architecture(t), "| `"+room+"` |") {
			t.Errorf("docs/architecture.md has no row for %s", room)
		}
	}
}

func architecture(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
