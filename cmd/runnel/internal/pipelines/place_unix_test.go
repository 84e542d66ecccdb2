//go:build unix

package pipelines

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	m.Run()
}

// place is a fleet with an engine, and a directory to be in.
type place struct {
	t   *testing.T
	url string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	t.Chdir(t.TempDir())
	p := &place{t: t, url: rig.Start(t, natsserver.Options{}).ClientURL()}
	fleet.Runner(t, rig.Dial(t, p.url), service.Config{Name: "r1", NoCgroup: true})
	engine, err := pipeline.Start(t.Context(), rig.Dial(t, p.url), pipeline.Config{Name: "e1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return p
}

func (p *place) file(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// run is `runnel pipeline` with arguments, and std where it is given.
func (p *place) run(std app.Stdio, args ...string) error {
	a := app.New(std)
	root := &cobra.Command{Use: "runnel", SilenceUsage: true, SilenceErrors: true}
	root.AddGroup(&cobra.Group{ID: cli.GroupRun, Title: "Run"})
	a.AddGlobalFlags(root)
	root.AddCommand(NewCommand(a))
	root.SetOut(std.Out)
	root.SetArgs(append([]string{"--server", p.url}, args...))
	return root.ExecuteContext(p.t.Context())
}

// does runs a command that ends with a code.
func (p *place) does(code int, args ...string) (out, errOut string) {
	p.t.Helper()
	return p.reads("", code, args...)
}

func (p *place) reads(in string, code int, args ...string) (out, errOut string) {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	err := p.run(app.Stdio{In: strings.NewReader(in), Out: &stdout, Err: &stderr}, append([]string{"pipeline"}, args...)...)
	if got := codeOf(err); got != code {
		p.t.Errorf("%q ends with %d, want %d: %v, %s", args, got, code, err, stderr.String())
	}
	if err != nil && !errors.As(err, new(*cli.ExitError)) {
		stderr.WriteString(err.Error())
	}
	return stdout.String(), stderr.String()
}

func codeOf(err error) int {
	var exit *cli.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	return cli.ExitOwn
}

func (p *place) wants(what, got string, parts ...string) {
	p.t.Helper()
	for _, part := range parts {
		if !regexp.MustCompile("(?m)" + part).MatchString(got) {
			p.t.Errorf("%s: %q is not in\n%s", what, part, got)
		}
	}
}

// shown is a command's JSON, an object a line.
func (p *place) shown(args ...string) (all []map[string]any) {
	p.t.Helper()
	out, _ := p.does(0, append(args, "--json")...)
	for line := range strings.Lines(out) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			p.t.Fatalf("%q is no JSON: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

const everyday = `
pipelines:
  good:
    tasks:
      greet: {script: ['echo "hello {{ .name }}"', 'echo aside >&2']}
      after: {script: [echo after], depends_on: greet}
  bad:
    tasks:
      kept: {script: [echo kept]}
      fails: {script: ['echo why >&2', 'test -e {{ .file }}'], depends_on: kept}
      never: {script: [echo never], depends_on: fails}
  long:
    tasks:
      wait: {script: [echo begun, sleep 1000]}
`
