package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree writes files below a new directory, and gives its path.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const one = "pipelines: {one: {tasks: {a: {script: [echo]}}}}"

func TestLoad(t *testing.T) {
	two := strings.Replace(one, "one", "two", 1)
	for _, c := range []struct {
		name, pattern string
		files         map[string]string
		want          string // names of pipelines, or
		err           string // what the error has
	}{
		{"both endings", "", map[string]string{"pipelines.yml": one, "sub/deep/pipelines.yaml": two}, "one two", ""},
		{"other names are left alone", "", map[string]string{"pipelines.yml": one, "other.yml": "broken: ["}, "one", ""},
		{"nobody's libraries", "", map[string]string{"pipelines.yml": one, "node_modules/x/pipelines.yml": two, ".git/pipelines.yml": two}, "one", ""},
		{"a pattern", "ci/*.yml", map[string]string{"ci/a.yml": one, "ci/sub/b.yml": two, "pipelines.yml": two}, "one", ""},
		{"choices", "{a,b}/x.{yml,yaml}", map[string]string{"a/x.yml": one, "b/x.yaml": two, "c/x.yml": "nonsense"}, "one two", ""},
		{"none", "", nil, "", ""},
		{"an empty file", "", map[string]string{"pipelines.yml": ""}, "", ""},
		{"twice", "", map[string]string{"a/pipelines.yml": one, "b/pipelines.yml": one}, "", `b/pipelines.yml: pipeline "one" is in `},
		{"names the other", "", map[string]string{"a/pipelines.yml": one, "b/pipelines.yml": one}, "", "a/pipelines.yml as well"},
		{"every broken file", "", map[string]string{"a/pipelines.yml": "x: 1", "b/pipelines.yml": "pipelines: {p: {no: 1}}"}, "", `a/pipelines.yml:1:1: unknown key "x"`},
		{"the second as well", "", map[string]string{"a/pipelines.yml": "x: 1", "b/pipelines.yml": "pipelines: {p: {no: 1}}"}, "", `b/pipelines.yml:1:17: unknown key "no"`},
		{"an open brace", "{a", map[string]string{"pipelines.yml": one}, "", "a { is not closed"},
		{"too many choices", strings.Repeat("{a,b}", 8), nil, "", "more than 100"},
		{"a bad class", "[a", nil, "", "syntax error in pattern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, c.files)
			defs, err := Load(dir, c.pattern)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q in it", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for name := range defs.Pipelines {
				names = append(names, name)
				if !strings.HasPrefix(defs.Source[name], dir) {
					t.Errorf("%s is from %q", name, defs.Source[name])
				}
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("a directory that there is none of")
	}
	if _, err := LoadPath(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("a file that there is none of")
	}
	if defs, err := LoadPath(filepath.Join(tree(t, map[string]string{"any.name": one}), "any.name"), ""); err != nil || defs.Pipelines["one"] == nil {
		t.Errorf("a file of any name: %v", err)
	}
	if pipe := filepath.Join(t.TempDir(), "pipelines.yml"); makePipe(pipe) == nil {
		if _, err := Load(filepath.Dir(pipe), ""); err == nil || !strings.Contains(err.Error(), pipe+" is no file") {
			t.Errorf("a pipe, which nobody writes to: %v", err)
		}
	}
	var place *definition.Error
	if _, err := Load(tree(t, map[string]string{"pipelines.yml": "pipelines: {p: {no: 1}}"}), ""); !errors.As(err, &place) || place.Line != 1 {
		t.Errorf("the error has no place: %v", err)
	}
}

func TestEnvFiles(t *testing.T) {
	for _, c := range []struct{ name, text, want, err string }{
		{"plain", "A=1", "A=1", ""},
		{"comments and empty lines", "# no\n\nA=1\n  # no\nB=2 # not this", "A=1 B=2", ""},
		{"export", "export A=1", "A=1", ""},
		{"double quotes", `A="x \"y\" \\ # z"`, `A=x "y" \ # z`, ""},
		{"a line break", `A="x\ny"`, "A=x\ny", ""},
		{"single quotes", `A='x \n $y'`, `A=x \n $y`, ""},
		{"equals signs", "A=b=c", "A=b=c", ""},
		{"nothing", "A=", "A=", ""},
		{"the last one", "A=1\nA=2", "A=2", ""},
		{"blanks", "  A = 1  ", "A=1", ""},
		{"a hash in it", "A=x#y", "A=x#y", ""},
		{"no value", "A=1\nnonsense", "", "2: NAME=value is expected"},
		{"no name", "=1", "", "1: NAME=value"},
		{"a blank in the name", "A B=1", "", "1: NAME=value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env, err := readEnvFiles([]string{filepath.Join(tree(t, map[string]string{"e": c.text}), "e")})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q in it", err, c.err)
				}
				return
			}
			var pairs []string
			for name, value := range env {
				pairs = append(pairs, name+"="+value)
			}
			slices.Sort(pairs)
			if got := strings.Join(pairs, " "); got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	dir := tree(t, map[string]string{"a": "A=1\nB=1", "b": "B=2"})
	env, err := readEnvFiles([]string{filepath.Join(dir, "a"), filepath.Join(dir, "none"), filepath.Join(dir, "b")})
	if err != nil || env["A"] != "1" || env["B"] != "2" {
		t.Errorf("the later file: %v, %v", env, err)
	}
	if _, err := readEnvFiles([]string{dir}); err == nil {
		t.Error("a directory was read")
	}
}

// fleetDefs is a fleet with an engine, and a client.
func fleetDefs(t *testing.T) *client.Client {
	t.Helper()
	server := rig.Memory(t)
	e, err := pipeline.Start(t.Context(), rig.Connect(t, server), pipeline.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	c, err := client.New(rig.Connect(t, server), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// names lists the fleet's pipelines.
func names(t *testing.T, c *client.Client) string {
	t.Helper()
	all, err := c.Pipelines(rig.Within(t, rig.Patience))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range all {
		if !p.GetRemoved() {
			out = append(out, p.GetName())
		}
	}
	return strings.Join(out, " ")
}

// The fleet has what the files have: what is new, what is gone, and nothing of a
// broken file; other sources' pipelines stay.
func TestApplyAndWatch(t *testing.T) {
	c := fleetDefs(t)
	dir := tree(t, map[string]string{"a/pipelines.yml": one, "b/pipelines.yml": "pipelines: {two: {}, three: {}}"})
	if _, err := c.Apply(t.Context(), "pipelines: {other: {}}", client.ApplyOptions{Source: "elsewhere"}); err != nil {
		t.Fatal(err)
	}
	files := &Files{Dir: dir, Host: "h", Logger: rig.Logger(t)}
	if _, err := files.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := names(t, c); got != "one other three two" {
		t.Errorf("first: %s", got)
	}
	if p, err := c.Pipeline(t.Context(), "one"); err != nil || p.GetSource() != "h:"+filepath.Join(dir, "a/pipelines.yml") {
		t.Errorf("source %q, %v", p.GetSource(), err)
	}

	ctx, end := context.WithCancel(t.Context())
	reload, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- files.Watch(ctx, c, reload) }()
	becomes := func(what, want string) {
		t.Helper()
		rig.EventuallyIn(t, 3*rig.Patience, what, func() bool { return names(t, c) == want })
	}
	reload <- struct{}{} // by now it watches
	put(t, filepath.Join(dir, "b/pipelines.yml"), "pipelines: {two: {}}")
	becomes("a pipeline is gone", "one other two")
	put(t, filepath.Join(dir, "new/deep/pipelines.yaml"), "pipelines: {four: {}}")
	becomes("a file is new", "four one other two")
	if err := os.RemoveAll(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	becomes("a file is gone", "one other two")
	put(t, filepath.Join(dir, "b/pipelines.yml"), "pipelines: {two: {no: 1}}")
	put(t, filepath.Join(dir, "a/pipelines.yml"), "pipelines: {five: {}}")
	reload <- struct{}{}
	reload <- struct{}{} // the first one has been done
	if got := names(t, c); got != "one other two" {
		t.Errorf("with a broken file: %s", got)
	}
	put(t, filepath.Join(dir, "b/pipelines.yml"), "pipelines: {}")
	becomes("it is good again", "five other")
	of := func(name, file string) {
		t.Helper()
		rig.EventuallyIn(t, 3*rig.Patience, name+" is in "+file, func() bool {
			p, err := c.Pipeline(t.Context(), name)
			return err == nil && p.GetSource() == "h:"+filepath.Join(dir, file)
		})
	}
	put(t, filepath.Join(dir, "a/pipelines.yml"), "pipelines: {}")
	put(t, filepath.Join(dir, "b/pipelines.yml"), "pipelines: {five: {concurrency: 2}}")
	of("five", "b/pipelines.yml")
	put(t, filepath.Join(dir, "b/pipelines.yml"), "pipelines: {}")
	put(t, filepath.Join(dir, "a/pipelines.yml"), "pipelines: {five: {}}") // which is read before b
	of("five", "a/pipelines.yml")
	end()
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
}

// Files of another pattern are watched, and env files wherever they are.
func TestWatchedFiles(t *testing.T) {
	c := fleetDefs(t)
	dir := tree(t, map[string]string{"jobs.flow": "pipelines: {one: {}}", "pipelines.yml": "pipelines: {no: {}}"})
	env := filepath.Join(tree(t, map[string]string{"env": "A=1"}), "env")
	files := &Files{Dir: dir, Pattern: "*.flow", EnvFiles: []string{env}, Host: "h", Logger: rig.Logger(t)}
	ctx, end := context.WithCancel(t.Context())
	reload, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- files.Watch(ctx, c, reload) }()
	shows := func(what, want string) {
		t.Helper()
		rig.EventuallyIn(t, 3*rig.Patience, what, func() bool {
			p, err := c.Pipeline(t.Context(), "one")
			return err == nil && strings.Contains(p.GetDefinition(), want)
		})
	}
	reload <- struct{}{} // by now it watches
	shows("the file", `"A":"***"`)
	put(t, filepath.Join(dir, "jobs.flow"), "pipelines: {one: {concurrency: 7}}")
	shows("a change of the file", `"concurrency":7`)
	put(t, env, "B=1")
	shows("a change of the environment", `"B":"***"`)
	if got := names(t, c); got != "one" {
		t.Errorf("pipelines %s", got)
	}
	end()
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
	if err := (&Files{Dir: dir, Pattern: "{a"}).Watch(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "a { is not closed") {
		t.Errorf("a broken pattern: %v", err)
	}
}

// A file that was changed a moment ago may be half written, unless somebody says
// that it is to be read.
func TestUnsettled(t *testing.T) {
	dir := tree(t, map[string]string{"pipelines.yml": one})
	file, now := filepath.Join(dir, "pipelines.yml"), time.Now()
	for _, c := range []struct {
		changed time.Time
		at      time.Time
		want    bool
	}{
		{now, now, true}, {now.Add(-settle / 2), now, true}, {now.Add(-2 * settle), now, false},
		{now, time.Time{}, false}, {now.Add(time.Hour), now, false},
	} {
		if err := os.Chtimes(file, c.changed, c.changed); err != nil {
			t.Fatal(err)
		}
		defs, err := Load(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := defs.unsettled(c.at); got != c.want {
			t.Errorf("changed %s before, %v: %v, want %v", now.Sub(c.changed), c.at.IsZero(), got, c.want)
		}
	}
}
