//go:build unix

package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestCommands(t *testing.T) {
	p := newPlace(t)
	p.file("pipelines.yml", everyday)
	t.Run("definitions", func(t *testing.T) { (&place{t, p.url}).definitions() })
	t.Run("results", func(t *testing.T) { (&place{t, p.url}).results() })
	t.Run("jobs", func(t *testing.T) { (&place{t, p.url}).jobs() })
	t.Run("logs", func(t *testing.T) { (&place{t, p.url}).logs() })
	t.Run("rerun", func(t *testing.T) { (&place{t, p.url}).rerun() })
	t.Run("completion", func(t *testing.T) { (&place{t, p.url}).completion() })
	t.Run("terminal", func(t *testing.T) { (&place{t, p.url}).terminal() })
	t.Run("signals", func(t *testing.T) { (&place{t, p.url}).signals() })
	t.Run("removal", func(t *testing.T) { (&place{t, p.url}).removal() })
}

// definitions are put in, listed, checked and described.
func (p *place) definitions() {
	out, said := p.does(0, "ls")
	p.wants("an empty list", said, "no pipeline is defined: runnel pipeline apply FILE")
	if out != "" {
		p.t.Errorf("standard output: %q", out)
	}
	_, said = p.does(0, "apply", "pipelines.yml")
	p.wants("apply", said, "^runnel: pipelines.yml: bad, good, long$")
	out, _ = p.does(0, "ls")
	p.wants("the list", out, `^PIPELINE +RUNNING +WAITING +STATE +SOURCE`, `^good +0 +0 +ready .*:.*/pipelines.yml`)
	all := p.shown("ls")
	if len(all) != 3 || all[0]["name"] != "bad" || all[2]["name"] != "long" || all[0]["schedulable"] != true {
		p.t.Errorf("in JSON: %v", all)
	}

	p.file("wrong.yml", "pipelines:\n  p:\n    tasks:\n      a: {scripts: [x]}\n")
	for _, args := range [][]string{{"apply", "wrong.yml"}, {"validate", "wrong.yml"}, {"validate", "--pattern", "wr*.yml", "."}} {
		_, said = p.does(cli.ExitOwn, args...)
		p.wants(strings.Join(args, " "), said, `wrong.yml:4:11: unknown key "scripts"`, `\^`)
	}
	p.file("twice.yml", "pipelines: {good: {}}")
	_, said = p.does(cli.ExitOwn, "apply", "twice.yml")
	p.wants("a second source", said, `pipeline "good" is in .*/pipelines.yml as well as in .*/twice.yml: rename one`)
	_, said = p.does(cli.ExitOwn, "validate", "pipelines.yml", "twice.yml")
	p.wants("the same by validate", said, `pipeline "good" is in`)
	_, said = p.does(cli.ExitOwn, "apply", "--source", "x", "pipelines.yml", "wrong.yml")
	p.wants("one source for two", said, "cannot use --source with 2 files")
	_, said = p.does(cli.ExitOwn, "apply", "none.yml")
	p.wants("no file", said, "cannot read none.yml: no such file or directory$")
	_, said = p.does(cli.ExitOwn, "validate", "--pattern", "none*")
	p.wants("no match", said, `no file matches none\*`)
	_, said = p.does(0, "validate", "pipelines.yml")
	p.wants("validate", said, "3 pipelines in 1 file: good")
	if out, _ = p.does(0, "schema"); !json.Valid([]byte(out)) || !strings.Contains(out, `"overlap"`) {
		p.t.Errorf("the schema: %s", out)
	}
	_, said = p.reads("pipelines: {piped: {}}", 0, "apply", "--source", "ci:piped", "-")
	p.wants("from a pipe", said, "^runnel: -: piped$")
	_, said = p.reads("pipelines: {other: {}}", 0, "apply", "--source", "ci:piped", "--prune", "-")
	p.wants("pruned", said, "^runnel: -: other$")
	if out, _ = p.does(0, "ls"); strings.Contains(out, "piped ") {
		p.t.Errorf("what was pruned is listed: %s", out)
	}
	_, said = p.does(cli.ExitOwn, "nosuch")
	p.wants("no such command", said, `there is no command "pipeline nosuch"`)
}

// results are exit codes, with what is printed where.
func (p *place) results() {
	out, said := p.does(0, "run", "good", "--var", "name=you", "--follow")
	p.wants("output", out, `^greet \| hello you$`, `^greet \| aside$`, `^after \| after$`)
	p.wants("states", said, `^runnel: greet running$|^runnel: greet done on r1 after `, `^runnel: after done on r1 after `, `^runnel: job [0-9a-f-]{36} completed in `)
	out, said = p.does(1, "run", "bad", "--var", "file=/none", "-f")
	p.wants("output of what fails", out, `^fails \| why$`)
	p.wants("states of what fails", said, `^runnel: fails error on r1 after .*: exit status 1$`, `^runnel: never skipped$`, `errored: task fails: exit status 1$`)
	_, said = p.does(1, "run", "good", "-f")
	p.wants("a missing variable", said, `greet error.*: cannot render script item 1, line 1: the job has no variable "name"`)
	_, said = p.does(cli.ExitOwn, "run", "nosuch")
	p.wants("no pipeline", said, `^pipeline "nosuch" is not defined`)
	out, _ = p.does(0, "run", "good", "--var", "name=x")
	if !regexp.MustCompile(`^[0-9a-f-]{36}\n$`).MatchString(out) {
		p.t.Errorf("without --follow: %q", out)
	}
	out, _ = p.reads(`{"name": 12345678901234567890}`, 0, "run", "good", "--vars", "-", "--json", "--user", "ann")
	var job map[string]any
	if err := json.Unmarshal([]byte(out), &job); err != nil || job["user"] != "ann" || job["variablesJson"] != `{"name":12345678901234567890}` {
		p.t.Errorf("as JSON: %v, %s", err, out)
	}
	changes := p.shown("run", "good", "--var", "name=x", "--follow")
	if last := changes[len(changes)-1]; last["completed"] != true || last["errored"] == true || len(changes) < 2 {
		p.t.Errorf("%d changes, the last: %v", len(changes), last)
	}
}

// id starts a job and gives its id.
func (p *place) id(args ...string) string {
	p.t.Helper()
	out, _ := p.does(0, append([]string{"run"}, args...)...)
	return strings.TrimSpace(out)
}

// jobs are listed, shown and cancelled.
func (p *place) jobs() {
	first := p.id("long", "--user", "ann")
	second := p.id("long")
	var rows []string
	rig.Eventually(p.t, "the first runs", func() bool {
		out, _ := p.does(0, "jobs", "--pipeline", "long")
		rows = strings.Split(strings.TrimSpace(out), "\n")
		return len(rows) == 3 && strings.Contains(rows[2], " running ")
	})
	p.wants("the newest is first", rows[1], "^"+second+" +waiting +long +- +- +0/1 ")
	p.wants("the older", rows[2], "^"+first+" +running +long +.* 0/1 +ann")
	if all := p.shown("jobs", "--limit", "1"); len(all) != 1 || all[0]["id"] != second {
		p.t.Errorf("one at most: %v", all)
	}
	out, _ := p.does(0, "show", second)
	p.wants("one that waits", out, "^job +"+second, "^pipeline +long$", "^state +waiting$", "^place +1$", "^wait +waiting")
	_, said := p.does(cli.ExitOwn, "jobs", "--limit", "0")
	p.wants("a limit", said, "cannot use --limit 0: it must be at least 1")
	_, said = p.does(cli.ExitOwn, "show", "")
	p.wants("an empty id", said, "is the beginning of several jobs' ids")
	_, said = p.does(cli.ExitOwn, "show", "zzz")
	p.wants("an unknown id", said, `unknown job zzz \(runnel pipeline jobs\)`)
	_, said = p.does(cli.ExitOwn, "show", "00000000-0000-0000-0000-000000000000")
	p.wants("an unknown whole id", said, "unknown job 00000000")

	out, _ = p.does(0, "cancel", second, first, "--reason", "enough")
	if want := second + " canceled\n" + first + " canceled\n"; out != want {
		p.t.Errorf("cancel: %q, want %q", out, want)
	}
	_, said = p.does(0, "cancel", first)
	p.wants("once more", said, first+" has ended: canceled")
	third := p.id("long")
	if all := p.shown("cancel", first, third); len(all) != 2 || all[0]["id"] != first || all[1]["id"] != third || all[1]["canceled"] != true || all[1]["completed"] != true {
		p.t.Errorf("in JSON: %v", all)
	}
	out, _ = p.does(0, "show", first)
	p.wants("a cancelled one", out, "^state +canceled$", "^canceled by +.+", "^reason +enough$", "^wait +canceled")
}

// logs print all tasks with their names, or one as it is.
func (p *place) logs() {
	out, _ := p.does(0, "run", "good", "--var", "name=log", "--follow", "--json")
	var job map[string]any
	if err := json.Unmarshal([]byte(out[:strings.Index(out, "\n")]), &job); err != nil {
		p.t.Fatal(err)
	}
	id := job["id"].(string)
	out, _ = p.does(0, "logs", id)
	p.wants("all", out, `^greet \| hello log$`, `^after \| after$`)
	out, said := p.does(0, "logs", id, "greet")
	if out != "hello log\n" || said != "aside\n" {
		p.t.Errorf("one: %q, %q", out, said)
	}
	_, said = p.does(cli.ExitOwn, "logs", id, "nosuch")
	p.wants("no task", said, `has no task "nosuch"; it has after, greet`)
	out, _ = p.does(1, "logs", "--follow", p.id("bad", "--var", "file=/none"))
	p.wants("followed", out, `^kept \| kept$`, `^fails \| why$`)
}

func (p *place) rerun() {
	file := filepath.Join(p.t.TempDir(), "there")
	first := p.id("bad", "--var", "file="+file)
	p.does(1, "logs", "-f", first)
	p.file(file, "")
	out, said := p.does(0, "rerun", first, "--failed", "--follow")
	p.wants("what failed", said, "never done on r1")
	if strings.Contains(out, "kept |") {
		p.t.Errorf("what was kept is printed: %s", out)
	}
	again := p.shown("jobs", "--limit", "1")[0]
	out, _ = p.does(0, "show", again["id"].(string))
	p.wants("the new one", out, "^runs again +"+first, "^kept +done .*kept$")
	p.does(0, "rerun", first, "--from", "kept", "-f")
	_, said = p.does(cli.ExitOwn, "rerun", first, "--from", "nosuch")
	p.wants("from no task", said, `cannot run again from "nosuch"`)
	_, said = p.does(cli.ExitOwn, "rerun", first, "--from", "kept", "--failed")
	p.wants("both", said, "failed from")
	_, said = p.does(cli.ExitOwn, "rerun", again["id"].(string), "--failed")
	p.wants("nothing failed", said, "nothing is to be run again")
}

func (p *place) completion() {
	complete := func(args ...string) string {
		p.t.Helper()
		var out bytes.Buffer
		if err := p.run(app.Stdio{In: strings.NewReader(""), Out: &out, Err: io.Discard}, append([]string{"__complete", "--server", p.url, "pipeline"}, args...)...); err != nil {
			p.t.Errorf("%q: %v", args, err)
		}
		return out.String()
	}
	id := p.shown("jobs", "--pipeline", "bad", "--limit", "1")[0]["id"].(string)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "g"}, "^good$"},
		{[]string{"rm", "good", ""}, "^bad$"},
		{[]string{"jobs", "--pipeline", "lo"}, "^long$"},
		{[]string{"show", id[:4]}, "^" + id + "\t.* bad$"},
		{[]string{"cancel", ""}, id},
		{[]string{"rerun", ""}, id},
		{[]string{"logs", id, ""}, "^fails$"},
		{[]string{"rerun", id, "--from", ""}, "^never$"},
	} {
		p.wants(strings.Join(c.args, " "), complete(c.args...), c.want)
	}
	if out := complete("run", "good", ""); strings.Contains(out, "good") || strings.Contains(out, "bad") {
		p.t.Errorf("a second pipeline: %s", out)
	}
}

// The first signal cancels the job that is followed; the command ends with 130.
func (p *place) signals() {
	var errOut rig.Buffer
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- p.run(app.Stdio{In: strings.NewReader(""), Out: in, Err: &errOut}, "pipeline", "run", "long", "--follow")
		in.Close()
	}()
	first := make([]byte, len("wait | begun\n"))
	if _, err := io.ReadFull(out, first); err != nil || string(first) != "wait | begun\n" {
		p.t.Fatalf("%q, %v", first, err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.ReadAll(out); err != nil {
		p.t.Error(err)
	}
	if err := <-ended; codeOf(err) != cli.ExitAborted {
		p.t.Errorf("got %v, want code %d", err, cli.ExitAborted)
	}
	p.wants("what it says", errOut.String(), "^runnel: canceling the job; once more to leave it$", "^runnel: job .* canceled by .*: interrupted$")
}

func (p *place) removal() {
	_, said := p.does(0, "rm", "good", "long")
	p.wants("rm", said, "^runnel: removed good$", "^runnel: removed long$")
	if out, _ := p.does(0, "ls"); strings.Contains(out, "good") {
		p.t.Errorf("listed: %s", out)
	}
	_, said = p.does(cli.ExitOwn, "rm", "good")
	p.wants("once more", said, `pipeline "good" is not defined`)
	if all := p.shown("jobs", "--pipeline", "good"); len(all) == 0 {
		p.t.Error("its jobs are gone")
	}
}

// Without a server, a command has an engine of its own, with the files here.
func TestWithoutAServer(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pipelines.yaml"), []byte("pipelines: {p: {tasks: {a: {script: ['echo {{ .x }}', exit 4]}}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	a := app.New(app.Stdio{In: strings.NewReader(""), Out: &out, Err: &errOut})
	root := &cobra.Command{Use: "runnel", SilenceUsage: true, SilenceErrors: true}
	root.AddGroup(&cobra.Group{ID: cli.GroupRun, Title: "Run"})
	a.AddGlobalFlags(root)
	root.AddCommand(NewCommand(a))
	root.SetArgs([]string{"pipeline", "run", "p", "--path", dir, "--var", "x=1"})
	if err := root.ExecuteContext(ctx); codeOf(err) != 1 || out.String() != "a | 1\n" || !strings.Contains(errOut.String(), "errored: task a: exit status 4") {
		t.Errorf("got %v, %q, %s", err, out.String(), errOut.String())
	}
}
