package runs

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/lines"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var room = apptest.Room{Commands: Commands}

// requested is the task that a command line of `runnel run` asks for.
func requested(t *testing.T, input string, args ...string) (*pb.TaskRequest, error) {
	t.Helper()
	r := &runCommand{App: app.New(app.Stdio{In: strings.NewReader(input), Out: io.Discard, Err: io.Discard})}
	var req *pb.TaskRequest
	cmd := &cobra.Command{Use: "run", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, args []string) (err error) {
		if err = refuseFlagsAfter(cmd, args); err == nil {
			req, err = r.request(args)
		}
		return err
	}}
	cmd.Flags().SetInterspersed(false)
	r.addFlags(cmd)
	cmd.SetArgs(args)
	return req, cmd.Execute()
}

// What the flags say is what is on the wire.
func TestFlagsBecomeATask(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"-- uptime -a":                           `{"argv":["uptime","-a"]}`,
		"uptime -a":                              `{"argv":["uptime","-a"]}`,
		"-- --all":                               `{"argv":["--all"]}`,
		"-c ls":                                  `{"commands":["ls"]}`,
		"-p A=1 -p B= -p A=x=y -- env":           `{"argv":["env"],"params":[{"name":"A","value":"1"},{"name":"B"},{"name":"A","value":"x=y"}]}`,
		"--dir /tmp --as nobody --name job -- x": `{"argv":["x"],"dir":"/tmp","user":"nobody","name":"job"}`,
		"--tag a=1,2 --tag b= -- x":              `{"argv":["x"],"tags":{"a":"1,2","b":""}}`,
		"--timeout 90s --grace 1m --expires 1h -- x":   `{"argv":["x"],"timeout":"1m30s","grace":"1m0s","expires":"1h0m0s"}`,
		"--width 80 --pack 1 -- x":                     `{"argv":["x"],"log":{"width":"80","pack":"1"}}`,
		"--max-output 64M --overflow drop --merge x":   `{"argv":["x"],"log":{"maxBytes":"67108864","overflow":"drop","merge":true}}`,
		"--isolation strict --network -- x":            `{"argv":["x"],"isolation":"strict","network":true}`,
		"--memory-max 64M --pids-max 3 -- x":           `{"argv":["x"],"limits":{"memoryMax":"64M","pidsMax":"3"}}`,
		"--cpu-weight 0 -- x":                          `{"argv":["x"],"limits":{"cpuWeight":"0"}}`, // the runner refuses it by name
		"--queue --retries 2 -- x":                     `{"argv":["x"],"retries":{"max":2}}`,
		"--queue --retries 1 --retry-on exit,oom -- x": `{"argv":["x"],"retries":{"max":1,"on":["exit","oom"]}}`,
		"--queue --retries 1 --backoff 10s -- x":       `{"argv":["x"],"retries":{"max":1,"backoff":"10s"}}`,
		"--queue --delay 5m --concurrency db=x=3 -- x": `{"argv":["x"],"delay":"5m0s","concurrency":{"key":"db=x","max":"3"}}`,
		"--queue --not-before 2026-01-02T03:04:05Z x":  `{"argv":["x"],"notBefore":"2026-01-02T03:04:05Z"}`,
	} {
		req, err := requested(t, "", strings.Fields(line)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		task := new(pb.Task)
		if err := protojson.Unmarshal([]byte(want), task); err != nil {
			t.Fatal(err)
		}
		if got := req.GetSpec().GetTask(); got.String() != task.String() {
			t.Errorf("%s\n got %s\nwant %s", line, got, task)
		}
		if req.GetKind() != pb.Kind || req.GetApiVersion() != pb.APIVersion || len(req.GetMetadata().GetId()) != 26 {
			t.Errorf("%s: got the envelope %q, %q, %q", line, req.GetKind(), req.GetApiVersion(), req.GetMetadata().GetId())
		}
	}
	req, err := requested(t, "", "--id", "mine", "--", "x")
	if err != nil || req.GetMetadata().GetId() != "mine" {
		t.Errorf("an id of my own: got %v, %v", req, err)
	}
}

// What can't be meant is refused before anybody is asked: no server is named here.
func TestRunsRefuse(t *testing.T) {
	t.Parallel()
	room.Refuses(t, map[string]string{
		"run":                               "there is nothing to run: give a program after --, or -c TEXT, or -f FILE (see runnel run --help)",
		"run -c x -- y":                     `cannot run "y" and a shell's text or a script at once; what they are to know is given with --param`,
		"run -c x -f y":                     "cannot run a shell's text and a script at once",
		"run -f - --stdin -":                "cannot read both the script and its standard input from standard input",
		"run --json --raw -- x":             "cannot print both records and exact bytes: --json or --raw",
		"run --limit 3 -- x":                "--limit, --batch and --expect go with --all",
		"run --on a --all -- x":             "one runner was named: pool, all and where don't go with it",
		"run --on a.b -- x":                 `cannot use name: "a.b" must be letters, digits, "-" and "_" only`,
		"run uptime --all":                  `--all after "uptime" would be the program's: put it before the program, or write -- before the program to give it that flag`,
		"run uptime --timeout=5s":           `--timeout after "uptime" would be the program's: put it before the program, or write -- before the program to give it that flag`,
		"run -p A -- x":                     `cannot use --param "A": it is K=V`,
		"run -p =1 -- x":                    "spec.task.params[0].name is empty",
		"run --tag a -- x":                  `cannot use --tag "a": it is K=V (see runnel run --help)`,
		"run --timeout 5 -- x":              `cannot use --timeout "5": it is a duration with a unit, such as 30s or 1h30m (see runnel run --help)`,
		"run --max-output much -- x":        `cannot use --max-output "much": it is a number of bytes, such as 67108864 or 64M (see runnel run --help)`,
		"run --pids-max few -- x":           `cannot use --pids-max "few": it is a whole number (see runnel run --help)`,
		"run -f /nosuch/x.sh":               "cannot read the script /nosuch/x.sh: no such file or directory",
		"run --stdin /nosuch/x -- cat":      "cannot read standard input from /nosuch/x: no such file or directory",
		"run --id a.b -- x":                 `metadata.id: "a.b" must be at most 64 letters, digits, "-" and "_"`,
		"run --follow -- x":                 "--follow, --priority, --retries, --retry-on, --backoff, --delay, --not-before and --concurrency go with --queue",
		"run --queue --all -- x":            "cannot queue for --on, --where or --all: a queue is for a pool; for every runner use schedule --all",
		"run --queue --retries -1 -- x":     "cannot use --retries -1: it must not be negative",
		"run --queue --backoff 5s -- x":     "--retry-on and --backoff go with --retries",
		"run --queue --follow -d -- x":      "cannot both follow and --detach",
		"run --queue --concurrency x -- x":  `cannot use --concurrency "x": it is KEY=N, with N at least 1`,
		"run --queue --concurrency =1 -- x": `cannot use --concurrency "=1": it is KEY=N, with N at least 1`,
		"code run":                          "there is nothing to run: give a file (see runnel code run --help)",
		"code run /nosuch/a.py":             "cannot read /nosuch/a.py: no such file or directory",
		"code run Makefile":                 "cannot tell the language of Makefile: give it with --language (runnel code languages)",
		"code run --json --raw a.py":        "cannot print both records and exact bytes: --json or --raw",
		"code run - --stdin - -l python3":   "cannot read both the source and its standard input from standard input",
		"ps extra":                          `cannot use the argument "extra": runnel ps [flags] (see runnel ps --help)`,
		"logs":                              "an argument is missing: runnel logs [flags] ID (see runnel logs --help)",
		"logs --from 0 x":                   "cannot use --from 0: lines are numbered from 1",
		"logs --tail 0 x":                   "cannot use --tail 0: it is how many last lines to print",
		"logs --tail 3 --from 2 x":          "cannot use --tail together with --from or --since: each says where to begin",
		"logs --tail 3 --since 2m x":        "cannot use --tail together with --from or --since: each says where to begin",
		"logs --stream both x":              `cannot use --stream "both": it is stdout or stderr`,
		"logs --json --raw x":               "cannot print both records and exact bytes: --json or --raw",
		"abort":                             "which run? name it, or use --tag",
		"abort x --tag a=b":                 "cannot use ids together with --tag: name the runs, or give tags that all of them have",
		"rm":                                "which run? name it, or use --older",
		"rm x --older 1h":                   "cannot use ids together with --older: it removes every run of that age",
		"rm --older -1h":                    "cannot use --older -1h0m0s: it must not be negative",
		"wait":                              "an argument is missing: runnel wait RUN… [flags] (see runnel wait --help)",
		"wait --at-most 0s x":               "cannot use --at-most 0s: it must be more than 0",
		"show":                              "an argument is missing: runnel show ID [flags] (see runnel show --help)",
	})
	got := room.Run(t, "run", "--queue", "--not-before", "tomorrow", "--", "x")
	if want := `runnel: cannot use --not-before "tomorrow": it is a time such as 20`; got.Code != 125 || !strings.HasPrefix(got.Err, want) {
		t.Errorf("got %d, %q, want %q", got.Code, got.Err, want)
	}
}

// Every flag that is not hidden stands in the help, under its heading.
func TestHelpOfRunsHasEveryFlag(t *testing.T) {
	t.Parallel()
	for line, headings := range map[string][]string{
		"run -h":            {"What", "Where", "How", "The queue", "Limits", "Output", "General"},
		"code run -h":       {"What", "Where", "How", "Limits", "Output"},
		"code languages -h": {"Output"},
		"ps -h":             {"What", "Output"}, "logs -h": {"What", "Output"}, "show -h": {"Output"},
		"wait -h": {"What", "Output"}, "abort -h": {"What", "Output"}, "rm -h": {"What"},
	} {
		got := room.Run(t, strings.Fields(line)...)
		for _, heading := range headings {
			if !strings.Contains(got.Out, "\n"+heading+"\n") {
				t.Errorf("%s has no heading %s", line, heading)
			}
		}
		root := room.Root(app.New(app.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}))
		cmd, _, err := root.Find(strings.Fields(strings.TrimSuffix(line, " -h")))
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
			fields := strings.Fields(text)
			if i := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "--") }); i >= 0 && i < 2 && !strings.Contains(got.Out, fields[i]+" ") {
				t.Errorf("%s does not show %s", line, fields[i])
			}
		}
		for text := range strings.Lines(got.Out) {
			if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > 80 {
				t.Errorf("%s: %d columns: %s", line, n, text)
			}
		}
	}
}

// Each limit of the table has its flag, and a limit that is not asked for is not
// sent.
func TestLimitsAreFlags(t *testing.T) {
	t.Parallel()
	values := map[limits.Kind]string{limits.Size: "64M", limits.Count: "7", limits.Time: "90s", limits.Processor: "50000 100000", limits.Disk: "8:16 wbps=1048576"}
	for _, row := range limits.Rows() {
		req, err := requested(t, "", "--"+row.Flag, values[row.Kind], "--", "x")
		if err != nil {
			t.Errorf("--%s: %v", row.Flag, err)
			continue
		}
		named, err := req.GetSpec().GetTask().GetLimits().Named()
		if err != nil || len(named) != 1 || named[row.Name] != values[row.Kind] {
			t.Errorf("--%s: got %v, %v, want %s alone", row.Flag, named, err, row.Name)
		}
	}
	if req, err := requested(t, "", "--", "x"); err != nil || req.GetSpec().GetTask().GetLimits() != nil {
		t.Errorf("without flags: got %v, %v", req.GetSpec().GetTask().GetLimits(), err)
	}
}

func TestScriptsAndInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small := "#!/bin/bash\necho hello\n"
	big := "#!/usr/bin/env bash\n" + strings.Repeat("# filler\n", 10_000)
	for name, c := range map[string]struct {
		args   []string
		input  string
		script string
		gzip   bool
		stdin  string
	}{
		"a file":         {[]string{"-f", write("a.sh", small)}, "", small, false, ""},
		"standard input": {[]string{"-f", "-"}, small, small, false, ""},
		"a big one":      {[]string{"-f", write("big.sh", big)}, "", big, true, ""},
		"with input":     {[]string{"-f", write("b", small), "--stdin", write("in", "a\x00b")}, "", small, false, "a\x00b"},
		"input of ours":  {[]string{"--stdin", "-", "--", "cat"}, "typed", "", false, "typed"},
	} {
		req, err := requested(t, c.input, c.args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		task := req.GetSpec().GetTask()
		var text bytes.Buffer
		if err := task.GetFile().Unpack(nil, &text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text.String() != c.script || task.GetFile().GetGzip() != c.gzip || string(task.GetStdin()) != c.stdin {
			t.Errorf("%s: got a script of %d bytes (gzip %t) and input %q", name, text.Len(), task.GetFile().GetGzip(), task.GetStdin())
		}
		if c.gzip && len(task.GetFile().GetContent()) > len(c.script)/10 {
			t.Errorf("%s: it is sent as %d bytes", name, len(task.GetFile().GetContent()))
		}
	}
}

func TestScriptsInOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, text string
		refused    bool
	}{
		{"x", "#!/bin/bash\n", false}, {"x.py", "#!/bin/bash\n", false}, {"x.py", "#!/usr/bin/env bash -e\n", false},
		{"x.sh", "echo", false}, {"x", "echo", false}, {"-", "echo", false}, {"x.sh", "#!/bin/sh\n", false},
		{"x.py", "print(1)", true}, {"x.js", "1", true}, {"x.rb", "1", true}, {"x.cc", "int main", true}, {"x.h", "x", true},
		{"x.sh", "#!/usr/bin/python3\n", true}, {"x", "#!/usr/bin/env node\n", true}, {"-", "#!/usr/bin/perl -w\n", true},
		{"x.py", "\x1f\x8bzipped", false}, {"x", "", false},
	} {
		err := refuseOtherLanguage(c.path, []byte(c.text))
		want := fmt.Sprintf("cannot run %s with bash: it is a program in another language (runnel code run %s)", c.path, c.path)
		if c.refused != (err != nil) || err != nil && err.Error() != want {
			t.Errorf("%s, %q: got %v", c.path, c.text, err)
		}
	}
}

func TestLanguageOfAFile(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"main.py": "py", "a/b/main.cc": "c++", "x.hpp": "c++", "x.h": "c", "x.mjs": "node", "x.cjs": "node", "x.rs": "rs", "Makefile": "", "-": "", "x.": "", "x.tar.gz": "gz",
	} {
		if got := languageOfFile(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// Sources keep their names below the directory; what lies elsewhere has its last one.
func TestSourcesOfAProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := filepath.Join(dir, "main.c")
	if err := os.WriteFile(outside, []byte("int main;\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &codeCommand{runCommand: runCommand{App: app.New(app.Stdio{In: strings.NewReader("typed"), Out: io.Discard, Err: io.Discard})}}
	cmd := &cobra.Command{}
	c.limits.add(cmd)
	req, err := c.request([]string{outside})
	if err != nil {
		t.Fatal(err)
	}
	task := req.GetSpec().GetTask()
	files := task.GetFiles()
	if len(files) != 1 || files[0].GetName() != "main.c" || files[0].GetContent() != base64.StdEncoding.EncodeToString([]byte("int main;\xff")) || files[0].GetEncoding() != "base64" {
		t.Errorf("got %v", files)
	}
	if task.GetLanguage().GetName() != "c" || string(task.GetStdin()) != "typed" {
		t.Errorf("got language %q, input %q", task.GetLanguage().GetName(), task.GetStdin())
	}
	// A source from standard input leaves no input to the program.
	c = &codeCommand{language: "python3", runCommand: runCommand{App: app.New(app.Stdio{In: strings.NewReader("print(1)"), Out: io.Discard, Err: io.Discard})}}
	c.limits.add(&cobra.Command{})
	req, err = c.request([]string{"-"})
	if err != nil || string(req.GetSpec().GetTask().GetFile().GetContent()) != "print(1)" || req.GetSpec().GetTask().GetStdin() != nil {
		t.Errorf("got %v, %v", req, err)
	}
}

func TestLogOptions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		flags logsCommand
		want  client.FollowOptions
		whole bool
	}{
		"all of it":       {logsCommand{}, client.FollowOptions{}, true},
		"from line 1":     {logsCommand{from: 1}, client.FollowOptions{FromPos: 1}, true},
		"from line 5":     {logsCommand{from: 5}, client.FollowOptions{FromPos: 5}, false},
		"the last three":  {logsCommand{tail: 3}, client.FollowOptions{Tail: 3}, false},
		"and go on":       {logsCommand{follow: true}, client.FollowOptions{Live: true}, true},
		"errors only":     {logsCommand{stream: "stderr"}, client.FollowOptions{Streams: []lines.Stream{lines.Stderr}}, true},
		"output only":     {logsCommand{stream: "stdout"}, client.FollowOptions{Streams: []lines.Stream{lines.Stdout}}, true},
		"of ten minutes":  {logsCommand{since: "10m"}, client.FollowOptions{Since: now.Add(-10 * time.Minute)}, false},
		"since a time":    {logsCommand{since: "2026-03-01T11:00:00Z"}, client.FollowOptions{Since: now.Add(-time.Hour)}, false},
		"since elsewhere": {logsCommand{since: "2026-03-01T12:00:00+01:00"}, client.FollowOptions{Since: now.Add(-time.Hour)}, false},
	} {
		got, err := c.flags.options(now)
		if err != nil || got.Live != c.want.Live || got.FromPos != c.want.FromPos || got.Tail != c.want.Tail || !got.Since.Equal(c.want.Since) || !slices.Equal(got.Streams, c.want.Streams) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
		if got := c.flags.isWhole(); got != c.whole {
			t.Errorf("%s: whole is %t", name, got)
		}
	}
	bad := logsCommand{since: "yesterday"}
	if _, err := bad.options(now); err == nil || err.Error() != `cannot use --since "yesterday": it is a duration such as 10m or a time such as 2026-03-01T12:00:00Z` {
		t.Errorf("got %v", err)
	}
}

func TestWhoIsAway(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		client.ErrNoAnswer, client.ErrNoRunners, fmt.Errorf("runner web1 is %w", client.ErrOffline), nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		&client.RemoteError{Code: 503, Text: "web1 does not answer"},
	} {
		if !nobodyThere(err) {
			t.Errorf("%v: it may pass", err)
		}
	}
	for _, err := range []error{nil, client.ErrUnknownRun, errors.New("x"), &client.RemoteError{Code: 404, Text: "unknown run id"}, &client.RemoteError{Code: 403}} {
		if nobodyThere(err) {
			t.Errorf("%v: it does not pass", err)
		}
	}
}

func TestEndTimes(t *testing.T) {
	t.Parallel()
	for grace, want := range map[time.Duration]time.Duration{0: 20 * time.Second, time.Second: 11 * time.Second, time.Minute: 70 * time.Second} {
		if got := (&runCommand{grace: grace}).endTime(); got != want {
			t.Errorf("grace %s: got %s, want %s", grace, got, want)
		}
	}
}

func TestNotYetInWords(t *testing.T) {
	t.Parallel()
	if got := notYet("", 5*time.Second).Error(); got != "it has not ended in 5s" {
		t.Errorf("got %q", got)
	}
	if got := notYet("running", time.Minute).Error(); got != "it was not RUNNING in 1m0s" {
		t.Errorf("got %q", got)
	}
}
