package commands

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// line is a command line with what a user sees of it. Texts are regular expressions
// over many lines; an empty one wants nothing in particular.
type line struct {
	args   []string
	code   int
	out    string
	errOut string
}

// try runs command lines one after the other.
func try(t *testing.T, all []line) {
	t.Helper()
	for _, l := range all {
		t.Run(strings.Join(l.args, " "), func(t *testing.T) {
			out, errOut, err := runnel(t, l.args...)
			var said strings.Builder
			said.WriteString(errOut)
			if code := cli.Report(err, &said); code != l.code {
				t.Errorf("got code %d, want %d: %s", code, l.code, said.String())
			}
			for what, pair := range map[string][2]string{"output": {out, l.out}, "error": {said.String(), l.errOut}} {
				if !regexp.MustCompile("(?m)" + pair[1]).MatchString(pair[0]) {
					t.Errorf("standard %s: got %q, want %q", what, pair[0], pair[1])
				}
			}
		})
	}
}

// newFleet starts a server with two runners, and makes it the one that commands find.
func newFleet(t *testing.T) {
	t.Helper()
	home := newHome(t)
	s := startServer(t, "fleet")
	t.Setenv("NATS_URL", s.URL())
	t.Setenv("NATS_NKEY", s.SeedFile())
	for _, cfg := range []service.Config{
		{Name: "web1", Pools: []string{"default", "web"}, Settings: service.Settings{Labels: map[string]string{"env": "prod"}}},
		{Name: "db1", Pools: []string{"db"}},
	} {
		cfg.DataDir = filepath.Join(home, "runner-"+cfg.Name)
		fleet.Runner(t, rig.Connect(t, s), cfg)
	}
}

func words(text string) []string { return strings.Fields(text) }

// Every command of runs, with one fleet: what it prints, its exit code, its errors.
func TestLinesOfRuns(t *testing.T) {
	newFleet(t)
	script := filepath.Join(t.TempDir(), "hello.sh")
	if err := os.WriteFile(script, []byte("#!/bin/bash\necho from a file: $who\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try(t, []line{
		{words("run --on web1 --id one -- echo hello"), 0, `^hello\n\z`, ``},
		{words("run --on web1 --id one -- echo hello"), 0, `^hello\n\z`, ``}, // the same request is the same run
		{words("run --on web1 --id one -- echo other"), 125, `\A\z`, `^runnel: .*one`},
		{[]string{"run", "--on", "db1", "--id", "three", "-c", "echo out; echo err >&2; exit 3"}, 3, `^out$`, `^err$`},
		{[]string{"run", "--on", "web1", "--id", "killed", "-c", "kill -TERM $$"}, 143, `\A\z`, `killed by SIGTERM`},
		{words("run --on web1 --id late --timeout 100ms --grace 100ms -- sleep 60"), 124, `\A\z`, `timed out after 100ms`},
		{words("run --on web1 --json --id js -- echo hi"), 0, `^\{"run":\{.*"id":"js".*\n.*"hi"`, ``},
		{[]string{"run", "--on", "web1", "--file", script, "--param", "who=you"}, 0, `^from a file: you$`, ``},
		{[]string{"run", "--on", "web1", "--file", script, "--", "argument"}, 125, `\A\z`, `cannot run "argument" and .* a script at once`},
		{words("run --on web1 -c"), 125, `\A\z`, `^runnel: `},
		{words("run --pool db --id pooled -- hostname"), 0, `.`, ``},
		{words("run --all --id both -- echo hello"), 0, `(?s)db1 +hello.*web1 +hello|web1 +hello.*db1 +hello`, `2 runners: 2 ok`},
		{words("run --all --json -- true"), 0, `"summary":\{"failed":\[\],"missing":\[\],"ok":\["db1","web1"\]`, ``},
		{words("run --all --where labels.env=='prod' -- true"), 0, ``, `1 ok`},
		{words("run --all --where labels.env='prod' -- true"), 125, `\A\z`, `to compare, write ==`},
		{words("run --detach --on web1 --id away --tag team=red --name sleeper -- sleep 600"), 0, `^away\n\z`, ``},
		{words("run --on nobody -- true"), 125, `\A\z`, `unknown runner nobody \(runnel ls\)|no runner.*nobody.*\(runnel ls\)|nobody.*\(runnel ls\)`},
		{words("run --pool nobody -- true"), 125, `\A\z`, `no online runner in pool nobody \(runnel ls\)`},
		{words("run --on web1 --memory-max lots -- true"), 125, `\A\z`, `--memory-max`},
		{words("run --on web1 --timeout 5 -- true"), 125, `\A\z`, `^runnel: .*timeout`},
		{words("run"), 125, `\A\z`, `^runnel: `},

		{words("ps --tag team=red"), 0, `\ARUN +STATE +RUNNER +STARTED +FOR +LINES +NAME\naway +RUNNING +web1 +\S+ ago +\S+ +- +sleeper\n\z`, ``},
		{words("ps --state FAILED,TIMEDOUT"), 0, `^late +TIMEDOUT +web1 .*after`, ``},
		{words("ps --state complete --limit 1 --json"), 0, `\A\{.*"state":"COMPLETE".*\}\n\z`, ``},
		{words("ps --state DEAD"), 125, `\A\z`, `no state "DEAD": it is one of PENDING`},
		{words("ps --limit -1"), 125, `\A\z`, `cannot use --limit: it must not be negative`},

		{words("show three"), 0, `(?s)^run +three$.*^runner +db1$.*^state +COMPLETE.*exit 3.*^output +2 lines, 8 B$.*^log +RUNNER_LOG `, ``},
		{words("show three --json"), 0, `"exitCode":3`, ``},
		{words("show nothing"), 125, `\A\z`, `^runnel: .*nothing`},
		{words("logs three"), 0, `^out$`, `^err$`},
		{words("logs one --json"), 0, `"hello"`, ``},
		{words("logs nothing"), 125, `\A\z`, `^runnel: .*nothing`},
		{words("wait three"), 3, `^three +COMPLETE`, ``},
		{words("wait one js"), 0, `(?s)one +COMPLETE.*js +COMPLETE|js +COMPLETE.*one +COMPLETE`, ``},
		{words("wait --at-most 50ms away"), 125, `\A\z`, `^runnel: .*50ms`},
		{words("wait --at-most -1s away"), 125, `\A\z`, `--at-most -1s: it must be more than 0`},
		{words("wait --for RUNNING away"), 0, `^away +`, ``},

		// What a shell is told when Tab is pressed: only what the command can be about.
		{[]string{"__complete", "logs", "a"}, 0, `\Aaway\tRUNNING web1 \S+ ago sleeper\n:36\n\z`, ``},
		{[]string{"__complete", "logs", "one", ""}, 0, `\A:36\n\z`, ``},
		{[]string{"__complete", "abort", ""}, 0, `\Aaway\tRUNNING .*\n:36\n\z`, ``},
		{[]string{"__complete", "abort", "away", ""}, 0, `\A:36\n\z`, ``},
		{[]string{"__complete", "rm", "th"}, 0, `\Athree\tCOMPLETE db1 \S+ ago .*exit 3\n:36\n\z`, ``},
		{[]string{"__complete", "wait", "--for", "RUN"}, 0, `^RUNNING$`, ``},
		{[]string{"__complete", "ps", "--tag", "team"}, 0, `\Ateam=red\t1 run\n:36\n\z`, ``},
		{[]string{"__complete", "run", "--on", ""}, 0, `\Adb1\tready, db\nweb1\tready, default web\n:36\n\z`, ``},
		{[]string{"__complete", "run", "--pool", "d"}, 0, `\Adb\t1 runner\ndefault\t1 runner\n:36\n\z`, ``},
		{[]string{"__complete", "glance", "sys", "--where", "labels."}, 0, `\Alabels\.env=="prod"\t1 runner\n:36\n\z`, ``},
		{[]string{"__complete", "serve", "--label", ""}, 0, `\Aenv=prod\t1 runner\n:36\n\z`, ``},
		{[]string{"__complete", "forget", "db1", ""}, 0, `\Aweb1\t.*\n:36\n\z`, ``},
		{[]string{"__complete", "queue", "pause", "w"}, 0, `\Aweb\t1 runner\n:36\n\z`, ``},
		{[]string{"__complete", "run", "--m"}, 0, "\\A[^`]*--memory-max\tmemory: BYTES, or 64M[^`]*\\z", ``},
		{[]string{"__complete", "--prefix", "nobody.here", "run", "--on", ""}, 0, `\A:36\n\z`, `\A(Completion ended .*\n)?\z`},

		{words("rm away"), 125, `\A\z`, `^runnel: .*away`}, // it lives
		{words("abort away"), 0, `^away +ABORTED`, ``},
		{words("abort away"), 0, `^away +ABORTED`, ``},
		{words("abort nothing"), 125, `\A\z`, `^runnel: .*nothing`},
		{words("wait away"), 130, `^away +ABORTED`, ``},
		{words("rm away"), 0, ``, ``},
		{words("show away"), 125, `\A\z`, `^runnel: .*away`},
	})
}

// Every command of hosts.
func TestLinesOfHosts(t *testing.T) {
	newFleet(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "motd"), []byte("welcome\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try(t, []line{
		{words("ls"), 0, `\ARUNNER +STATE +RUNNING +POOLS +LABELS +CLOCK +VERSION +SEEN\ndb1 +online +0/64 +db .*\nweb1 +online +0/64 +default,web +env=prod `, ``},
		{words("ls --json"), 0, `^\{"online":true,"lastSeen":"[^"]+Z","card":\{.*"name":"db1"`, ``},
		{words("ls too many"), 125, `\A\z`, `^runnel: `},
		{words("forget web1"), 125, `\A\z`, `cannot forget web1: it is online`},
		{words("forget web9"), 125, `\A\z`, `cannot forget web9: no runner of that name is known \(runnel ls\)`},

		{words("glance sys --on web1"), 0, `(?i)memory`, ``},
		{words("glance sys --on web1 --json"), 0, `"runner":"web1"`, ``},
		{words("glance sys --all --json"), 0, `"summary":\{"failed":\[\],"missing":\[\],"ok":\["db1","web1"\]`, `2 runners: 2 ok`},
		{[]string{"glance", "ls", "--on", "web1", dir}, 0, `motd`, ``},
		{[]string{"glance", "cat", "--on", "web1", filepath.Join(dir, "motd")}, 0, `\Awelcome\n\z`, ``},
		{[]string{"glance", "cat", "--on", "web1", filepath.Join(dir, "nothing")}, 125, `\A\z`, `no such file`},
		{words("glance ls --on web1 relative"), 125, `\A\z`, `^runnel: .*(relative|DIRECTORY|absolute)`},
		{words("glance nothing"), 125, `\A\z`, `there is no command|unknown`},
		{words("glance ps --on web1 --top 3"), 0, `(?i)pid`, ``},

		{words("maint clock --on web1"), 0, `web1`, ``},
		{words("maint clock --on web1 --json"), 0, `"clock":\{`, ``},
		{words("maint nothing"), 125, `\A\z`, `^runnel: `},
	})
}

// What needs no fleet, and mistakes in the words themselves.
func TestLinesWithoutAFleet(t *testing.T) {
	newHome(t)
	try(t, []line{
		{words("nothing"), 125, `\A\z`, `there is no command "nothing" \(see runnel --help\)`},
		{words("rnu"), 125, `\A\z`, `there is no command "rnu"; did you mean .*run`},
		{words("version extra"), 125, `\A\z`, `^runnel: `},
		{words("ps --nothing"), 125, `\A\z`, `nothing`},
		{words("ps --limit many"), 125, `\A\z`, `--limit`},
		{words("--log-level loud ls"), 125, `\A\z`, `cannot use log level "loud": it is debug, info, warn or error`},
		{[]string{"run", "--on", "", "--", "true"}, 125, `\A\z`, `cannot use --on "": it is empty`},
		{words("ls"), 125, `\A\z`, `runnel serve`},
		{words("pipeline nothing"), 125, `\A\z`, `there is no command "pipeline nothing"`},
		{words("gateway nothing"), 125, `\A\z`, `there is no command "gateway nothing"`},
		{words("completion bash"), 0, `bash completion`, ``},
		{words("completion zsh"), 0, `#compdef runnel`, ``},
		{words("completion fish"), 0, `fish completion`, ``},
		{words("completion powershell"), 0, `(?i)powershell`, ``},
		{words("completion tcsh"), 125, `\A\z`, `tcsh`},
		{[]string{"__complete", "ps", "--state", ""}, 0, `(?s)^RUNNING$.*^ABORTED$`, ``},
		{[]string{"__complete", "run", "--isolation", ""}, 0, `(?s)none.*standard.*strict`, ``},
		{[]string{"__complete", "--log-level", ""}, 0, `debug`, ``},
		{[]string{"__complete", "gateway", "token", "--scope", ""}, 0, `admin`, ``},
		{words("gateway token --scope nothing"), 125, `\A\z`, `cannot use --scope nothing`},
		{words("gateway token --scope read --sub me"), 0, `\A[\w-]+\.[\w-]+\.[\w-]+\n\z`, ``},
	})
}

// A pipeline's life on the command line, by an engine inside the command.
func TestLinesOfPipelines(t *testing.T) {
	newHome(t)
	dir := t.TempDir()
	t.Chdir(dir)
	files := map[string]string{
		"pipelines.yml": "pipelines:\n  greet:\n    tasks:\n      hello:\n        script:\n          - echo hello {{ .who }}\n  broken:\n    tasks:\n      fails:\n        script:\n          - exit 4\n",
		"bad.yml":       "pipelines:\n  loop:\n    tasks:\n      a:\n        depends_on: [a]\n        script:\n          - true\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try(t, []line{
		{words("pipeline validate pipelines.yml"), 0, ``, ``},
		{words("pipeline validate bad.yml"), 125, `\A\z`, `loop`},
		{words("pipeline validate absent.yml"), 125, `\A\z`, `absent.yml`},
		{words("pipeline schema"), 0, `\A\{`, ``},
		{words("pipeline run greet --var who=you --follow"), 0, `hello you`, ``},
		{words("pipeline run broken --follow"), 1, ``, `errored`},
		{words("pipeline run nothing"), 125, ``, `^runnel: .*nothing`},
	})
}

// A run's record and a runner's card are one object a line, as on the wire.
func TestJSONOfCommandsIsJSON(t *testing.T) {
	newFleet(t)
	if _, _, err := runnel(t, words("run --on web1 --id j -- true")...); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"ls --json", "ps --json", "show j --json", "logs j --json", "glance sys --on web1 --json", "maint clock --all --json", "version --json"} {
		out, _, err := runnel(t, words(args)...)
		if err != nil || out == "" {
			t.Errorf("%s: got %q, %v", args, out, err)
		}
		for text := range strings.Lines(out) {
			var object map[string]any
			if err := json.Unmarshal([]byte(text), &object); err != nil {
				t.Errorf("%s: %q: %v", args, text, err)
			}
		}
	}
}

// Without a terminal nothing has colours, and an error is one line.
func TestPipesGetPlainText(t *testing.T) {
	newFleet(t)
	for _, args := range []string{"ls", "ps", "glance sys --on web1", "maint clock --all", "run --all -- true", "run --on absent -- true", "show absent"} {
		out, errOut, err := runnel(t, words(args)...)
		if strings.Contains(out+errOut, "\x1b") {
			t.Errorf("%s: %q, %q have colours", args, out, errOut)
		}
		if exit := (*cli.ExitError)(nil); err != nil && !errors.As(err, &exit) && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has several lines", args, err)
		}
	}
}
