// Package apptest runs command lines in the process of a test: one room's
// commands below a root of their own, in a home where nobody has been.
package apptest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
)

// Main runs a package's tests in a bare home, without a variable that says where a
// server is or how things look.
func Main(m *testing.M) int {
	home, err := os.MkdirTemp("", "runnel-home")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "NATS_") || strings.HasPrefix(name, "RUNNEL_") && name != "RUNNEL_LONG" || name == "NO_COLOR" {
			os.Unsetenv(name)
		}
	}
	for name, dir := range map[string]string{"HOME": "", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data"} {
		os.Setenv(name, filepath.Join(home, dir))
	}
	return m.Run()
}

// Room is the commands of a package, and the server that they find.
type Room struct {
	Commands func(*app.App) []*cobra.Command
	// Server is its URL; empty: none is named.
	Server string
	// Input is the standard input.
	Input string
}

// Result is what a command line leaves for whoever typed it.
type Result struct {
	Out, Err string
	Code     int
}

// One makes a room of one command.
func One(command func(*app.App) *cobra.Command) Room {
	return Room{Commands: func(a *app.App) []*cobra.Command { return []*cobra.Command{command(a)} }}
}

// At is the room with a server.
func (r Room) At(url string) Room {
	r.Server = url
	return r
}

// Root is a root with the room's commands.
func (r Room) Root(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use: "runnel", Args: cli.KnownCommand, SilenceErrors: true, SilenceUsage: true, TraverseChildren: true,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.Prepare(cmd) },
	}
	for _, id := range []string{cli.GroupRun, cli.GroupFleet, cli.GroupServe, cli.GroupOther} {
		root.AddGroup(&cobra.Group{ID: id, Title: id})
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	a.AddGlobalFlags(root)
	root.AddCommand(r.Commands(a)...)
	cli.StyleHelp(root)
	return root
}

// Run runs a command line to its end, as the process that it stands for would.
func (r Room) Run(t testing.TB, args ...string) Result {
	t.Helper()
	var out, errOut bytes.Buffer
	a := app.New(app.Stdio{In: strings.NewReader(r.Input), Out: &out, Err: &errOut})
	a.TabPatience = patience
	root := r.Root(a)
	if r.Server != "" {
		args = slices.Concat(r.connection(), args)
	}
	root.SetArgs(args)
	code := cli.Report(root.ExecuteContext(t.Context()), &errOut)
	return Result{out.String(), errOut.String(), code}
}

// patience is what a busy machine may need for an answer.
const patience = time.Minute

func (r Room) connection() []string {
	return []string{"--server", r.Server, "--timeout", patience.String()}
}

// Complete is what a shell offers for the last of the words, without descriptions.
func (r Room) Complete(t testing.TB, words ...string) (offered []string) {
	t.Helper()
	if r.Server != "" {
		words = slices.Concat(r.connection(), words)
	}
	server := r
	server.Server = ""
	result := server.Run(t, append([]string{cobra.ShellCompNoDescRequestCmd}, words...)...)
	for line := range strings.Lines(result.Out) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, ":") {
			offered = append(offered, line)
		}
	}
	return offered
}

// Refuses runs command lines that can't be meant: each ends at once with Runnel's
// own code, without output, and with one line of words on standard error.
func (r Room) Refuses(t *testing.T, lines map[string]string) {
	t.Helper()
	for line, want := range lines {
		result := r.Run(t, strings.Fields(line)...)
		if result.Code != cli.ExitOwn || result.Out != "" || result.Err != "runnel: "+want+"\n" {
			t.Errorf("%s\n got %d %q %q\nwant %d %q", line, result.Code, result.Out, result.Err, cli.ExitOwn, "runnel: "+want+"\n")
		}
	}
}
