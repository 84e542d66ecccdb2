package schedules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// What can't be meant is refused before anybody is asked: no server is named here.
func TestSchedulesRefuse(t *testing.T) {
	t.Parallel()
	room.Refuses(t, map[string]string{
		"schedule nosuch":        `there is no command "schedule nosuch" (see runnel schedule --help)`,
		"schedule add":           "give it a name: runnel schedule add NAME --every 5m -- PROGRAM",
		"schedule add x -- true": "cannot add schedule x: give one of cron, every and at",
		"schedule add x --every 5m --cron @daily -- true":                     "cannot add schedule x: give one of cron, every and at",
		"schedule add x --every 5m":                                           "there is nothing to run: give a program after --, or -c TEXT, or -f FILE (see runnel run --help)",
		"schedule add .x --every 5m -- true":                                  `cannot add schedule .x: name: ".x": it must be 1 to 31 letters, digits, "-" and "_", beginning with a letter or digit`,
		"schedule add x --every 5m --tz UTC -- true":                          "cannot add schedule x: a time zone belongs to a cron pattern alone",
		"schedule add x --every 5m --overlap no -- true":                      `cannot add schedule x: overlap: "no": it is skip, allow or replace`,
		"schedule add x --every 5m --jitter -1s -- true":                      `cannot add schedule x: jitter: "-1s" is negative`,
		"schedule add x --every 5m --jitter 1 -- true":                        `cannot use --jitter "1": it is a duration with a unit, such as 30s or 1h30m (see runnel schedule add --help)`,
		"schedule add x --at 2020-01-01T00:00:00Z -- true":                    "cannot add schedule x: at: 2020-01-01T00:00:00Z is in the past",
		"schedule add x --every 5m --until 2020-01-01T00:00:00Z -- true":      "cannot add schedule x: until: 2020-01-01T00:00:00Z is over before it begins",
		"schedule add x --every 5m --pool no.pool -- true":                    `cannot use name: "no.pool" must be letters, digits, "-" and "_" only`,
		"schedule add x --every 5m --where cpus>8 --pool web --on w1 -- true": "one runner was named: pool, all and where don't go with it",
		"schedule add x --every 5m --all --retries 2 -- true":                 "--follow, --priority, --retries, --retry-on, --backoff, --delay, --not-before and --concurrency go with --queue",
		"schedule add x --every 5m --id y -- true":                            "--id is no flag of a schedule",
		"schedule add x --every 5m --detach -- true":                          "--detach is no flag of a schedule",
		"schedule add x --every 5m --limit 3 -- true":                         "--limit is no flag of a schedule",
		"schedule show":                   "an argument is missing: runnel schedule show NAME [flags] (see runnel schedule show --help)",
		"schedule rm a b":                 `cannot use the argument "b": runnel schedule rm NAME [flags] (see runnel schedule rm --help)`,
		"schedule history x --limit 0":    "cannot use --limit 0: it must be at least 1",
		"schedule history x --limit some": `cannot use --limit "some": it is a whole number (see runnel schedule history --help)`,
		"schedule apply -f /nosuch/s.yml": "cannot read the schedules: open /nosuch/s.yml: no such file or directory (name the file with -f)",
		"schedule diff extra":             `cannot use the argument "extra": runnel schedule diff [flags] (see runnel schedule diff --help)`,
		"schedule ls --no-context":        "no NATS server: name one with --server or --context, or start one here with `runnel serve`",
	})
	for _, flag := range []string{"at", "from", "until"} {
		got := room.Run(t, "schedule", "add", "x", "--every", "5m", "--"+flag, "tomorrow", "--", "true")
		if want := `runnel: cannot use --` + flag + ` "tomorrow": it is a time such as 20`; got.Code != 125 || !strings.HasPrefix(got.Err, want) {
			t.Errorf("--%s: got %d, %q, want %q", flag, got.Code, got.Err, want)
		}
	}
}

func TestHelpOfSchedules(t *testing.T) {
	t.Parallel()
	for line, wants := range map[string][]string{
		"schedule":            {"Run tasks at their times, without a scheduler process.\n", "runnel schedule add disk --every 5m --all -c 'df -h /'", "  apply ", "  history "},
		"schedules":           {"Run tasks at their times"},
		"schedule add -h":     {"--cron PATTERN", "--tz ZONE", "skip|allow|replace", "--start-deadline", "When\n"},
		"schedule ls -h":      {"runnel schedule ls --json"},
		"schedule show -h":    {"runnel schedule show nightly"},
		"schedule history -h": {"--limit N"},
		"schedule pause -h":   {"runnel schedule pause nightly"},
		"schedule resume -h":  {"not made up for"},
		"schedule run -h":     {"print the id"},
		"schedule rm -h":      {"what it has started goes on"},
		"schedule apply -h":   {"--prune", "-f, --file FILE", "--source NAME"},
		"schedule diff -h":    {"exit 1 if anything"},
	} {
		got := room.Run(t, strings.Fields(line)...)
		if got.Code != 0 || got.Err != "" {
			t.Errorf("%s: got %d, %q", line, got.Code, got.Err)
		}
		for _, want := range wants {
			if !strings.Contains(got.Out, want) {
				t.Errorf("%s: got\n%s\nwant %q in it", line, got.Out, want)
			}
		}
		for text := range strings.Lines(got.Out) {
			if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > 80 {
				t.Errorf("%s: %d columns: %s", line, n, text)
			}
		}
		if strings.Contains(got.Out, "--detach") || strings.Contains(got.Out, "--priority") {
			t.Errorf("%s: offers a flag that is none of a schedule:\n%s", line, got.Out)
		}
	}
}

// does runs a command line that must succeed.
func does(t *testing.T, r apptest.Room, args ...string) apptest.Result {
	t.Helper()
	got := r.Run(t, args...)
	if got.Code != 0 {
		t.Fatalf("%q: got %d, %q", args, got.Code, got.Err)
	}
	return got
}

// usedFleet is a server where a runner was, and is no more.
func usedFleet(t *testing.T) (url string) {
	t.Helper()
	server := rig.Start(t, natsserver.Options{})
	fleet.Runner(t, rig.Dial(t, server.ClientURL()), service.Config{Name: "web1"}).Close()
	return server.ClientURL()
}

// Schedules are kept by the server: no runner is needed to make, list, change and
// remove them.
func TestSchedules(t *testing.T) {
	t.Parallel()
	r := room.At(usedFleet(t))
	if got := does(t, r, "schedule", "ls"); got.Out != "" || got.Err != "runnel: no schedules (runnel schedule add --help)\n" {
		t.Errorf("none: got %q, %q", got.Out, got.Err)
	}
	if got := does(t, r, "schedule", "ls", "--json"); got.Out != "" || got.Err != "" {
		t.Errorf("none, as JSON: got %q, %q", got.Out, got.Err)
	}

	got := does(t, r, "schedule", "add", "nightly", "--cron", "0 3 * * *", "--tz", "Europe/Berlin", "--", "echo", "backup")
	if !regexp.MustCompile(`^nightly: next 20\d\d-\d\d-\d\dT0[12]:00:00Z \(in \d+[hms]\)\n$`).MatchString(got.Out) {
		t.Errorf("got %q", got.Out)
	}
	added := does(t, r, "schedule", "add", "disk", "--every", "100h", "--all", "--where", "cpus > 0", "--jitter", "5m", "--overlap", "allow", "--json", "-c", "df -h")
	var shown struct {
		Name, Every, Where, Jitter, Overlap string
		All                                 bool
		Task                                json.RawMessage
	}
	task := new(pb.TaskRequest)
	if err := json.Unmarshal([]byte(added.Out), &shown); err != nil || shown.Name != "disk" || shown.Every != "100h" || !shown.All || shown.Where != "cpus > 0" || shown.Jitter != "5m0s" || shown.Overlap != "allow" {
		t.Errorf("got %s, %v", added.Out, err)
	}
	if err := pb.UnmarshalJSON(shown.Task, task); err != nil || !slices.Equal(task.GetSpec().GetTask().GetCommands(), []string{"df -h"}) || task.GetMetadata().GetId() != "" {
		t.Errorf("got %v, %v, want the task without an id", task, err)
	}
	if got := does(t, r, "schedule", "show", "disk").Out; got != added.Out {
		t.Errorf("shown otherwise than it was added:\n%s%s", got, added.Out)
	}
	does(t, r, "schedule", "add", "one", "--every", "100h", "--on", "web1", "--", "true")

	table := does(t, r, "schedule", "ls").Out
	want := regexp.MustCompile(`^SCHEDULE  WHEN +NEXT +LAST  STATE  WHERE
disk      every 100h +in 4d +-     -      all where cpus > 0
nightly   0 3 \* \* \* Europe/Berlin  in \S+ +-     -      pool default
one       every 100h +in 4d +-     -      on web1
$`)
	if !want.MatchString(table) {
		t.Errorf("got\n%s\nwant %s", table, want)
	}
	if got := r.Complete(t, "schedule", "pause", "n"); !slices.Equal(got, []string{"nightly"}) {
		t.Errorf("offered %q", got)
	}
	if got := r.Complete(t, "schedule", "show", "disk", ""); got != nil {
		t.Errorf("a second name: offered %q", got)
	}

	taken := r.Run(t, "schedule", "add", "nightly", "--every", "5m", "--", "true")
	if taken.Code != 125 || !strings.HasSuffix(taken.Err, "(runnel schedule show tells; add --replace to write over it)\n") {
		t.Errorf("a name twice: got %d, %q", taken.Code, taken.Err)
	}
	does(t, r, "schedule", "add", "nightly", "--every", "200h", "--replace", "--", "true")
	does(t, r, "schedule", "add", "fresh", "--every", "200h", "--replace", "--", "true") // over nothing
	if got := does(t, r, "schedule", "ls").Out; !regexp.MustCompile(`(?m)^nightly +every 200h +in 8d`).MatchString(got) {
		t.Errorf("got\n%s", got)
	}

	does(t, r, "schedule", "pause", "nightly")
	if got := does(t, r, "schedule", "ls").Out; !regexp.MustCompile(`(?m)^nightly +every 200h +paused +-`).MatchString(got) {
		t.Errorf("paused: got\n%s", got)
	}
	does(t, r, "schedule", "resume", "nightly")
	if got := does(t, r, "schedule", "ls").Out; strings.Contains(got, "paused") {
		t.Errorf("resumed: got\n%s", got)
	}
	if got := does(t, r, "schedule", "history", "nightly"); got.Out != "" || got.Err != "runnel: nightly has had no tick yet\n" {
		t.Errorf("without history: got %q, %q", got.Out, got.Err)
	}
	if got := does(t, r, "schedule", "run", "nightly").Out; !regexp.MustCompile(`^nightly-\d{8}T\d{6}Z-now\n$`).MatchString(got) {
		t.Errorf("run: got %q", got)
	}

	if got := does(t, r, "schedule", "rm", "nightly"); got.Out != "" || got.Err != "" {
		t.Errorf("got %q, %q", got.Out, got.Err)
	}
	unknown := `unknown schedule: "nightly" (runnel schedule ls)`
	r.Refuses(t, map[string]string{
		"schedule rm nightly": unknown, "schedule show nightly": unknown, "schedule pause nightly": unknown,
		"schedule resume nightly": unknown, "schedule run nightly": unknown, "schedule history nightly": unknown,
	})
}

// One that can have no tick before it is over says so, and names no time.
func TestScheduleWithoutATick(t *testing.T) {
	t.Parallel()
	r := room.At(usedFleet(t))
	got := does(t, r, "schedule", "add", "never", "--cron", "0 0 29 2 *", "--from", "2097-01-01T00:00:00Z", "--until", "2098-01-01T00:00:00Z", "--", "true")
	if want := "never: no tick is to come\n"; got.Out != want {
		t.Errorf("got %q, want %q", got.Out, want)
	}
}

// A directory's file and the fleet's schedules become the same, and diff says what
// that takes.
func TestScheduleFiles(t *testing.T) {
	t.Parallel()
	r := room.At(usedFleet(t))
	path := filepath.Join(t.TempDir(), "schedules.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(code int, want string, args ...string) {
		t.Helper()
		got := r.Run(t, append([]string{"schedule"}, args...)...)
		if got.Code != code || got.Out != want || got.Err != "" {
			t.Errorf("%q: got %d, %q, %q, want %d, %q", args, got.Code, got.Out, got.Err, code, want)
		}
	}
	does(t, r, "schedule", "add", "byhand", "--every", "900h", "--", "true")

	write("schedules:\n  a: {every: 100h, task: {command: date}}\n  b: {every: 200h, where: cpus > 0, task: {argv: [true]}}\n")
	expect(1, "+ a: every 100h, pool default\n+ b: every 200h, all where cpus > 0\n", "diff", "-f", path)
	expect(0, "added a\nadded b\n", "apply", "-f", path)
	expect(0, "unchanged a\nunchanged b\n", "apply", "-f", path)
	expect(0, "", "diff", "-f", path)

	write("schedules:\n  a: {every: 150h, task: {command: date}}\n")
	expect(1, "~ a\n    every: \"100h\" → \"150h\"\n", "diff", "-f", path)
	expect(1, "~ a\n    every: \"100h\" → \"150h\"\n- b\n", "diff", "-f", path, "--prune")
	expect(0, "changed a\n", "apply", "-f", path)
	expect(0, "unchanged a\nremoved b\n", "apply", "-f", path, "--prune")
	expect(0, "", "diff", "-f", path, "--prune") // what was made by hand is not the file's

	r.Input = "schedules:\n  c: {every: 100h, task: {command: date}}\n"
	expect(0, "added c\n", "apply", "-f", "-", "--source", "pipe")
	r.Input = "schedules:\n"
	expect(0, "removed c\n", "apply", "-f", "-", "--source", "pipe", "--prune")

	write("schedules:\n  a:\n    evry: 5m\n    task: {command: x}\n")
	wrong := r.Run(t, "schedule", "apply", "-f", path)
	if wrong.Code != 125 || wrong.Out != "" || !strings.HasPrefix(wrong.Err, "runnel: "+path+`:3:5: unknown key "evry"`) || !strings.Contains(wrong.Err, "^") {
		t.Errorf("got %d, %q, %q, want the place in the file", wrong.Code, wrong.Out, wrong.Err)
	}
}
