package pipelines

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Variables of flags are text as it stands, above those of the file.
func TestVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vars.json")
	if err := os.WriteFile(file, []byte(`{"n": 12345678901234567890, "a": [1], "x": "file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &pipelineRun{varsFile: file, vars: []string{`x="a,b=c"`, "empty=", "lines=1\n2", "e=a=b,c=d"}}
	vars, err := p.variables()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(vars)
	if want := `{"a":[1],"e":"a=b,c=d","empty":"","lines":"1\n2","n":12345678901234567890,"x":"\"a,b=c\""}`; err != nil || string(body) != want {
		t.Errorf("got %s, %v\nwant %s", body, err, want)
	}
	for _, c := range []struct {
		p    pipelineRun
		want string
	}{
		{pipelineRun{vars: []string{"x"}}, `cannot use --var "x": give NAME=VALUE`},
		{pipelineRun{vars: []string{"=x"}}, "give NAME=VALUE"},
		{pipelineRun{varsFile: file + ".none"}, "cannot read " + file + ".none: no such file"},
		{pipelineRun{vars: []string{"x=" + strings.Repeat("y", 600<<10)}}, "cannot use variables: they have"},
	} {
		if _, err := c.p.variables(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q in it", err, c.want)
		}
	}
}
