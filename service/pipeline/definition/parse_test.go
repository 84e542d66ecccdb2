package definition

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, text string) map[string]*Pipeline {
	t.Helper()
	all, err := Parse("pipelines.yml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return all
}

func TestParseEverydayFile(t *testing.T) {
	all := mustParse(t, `
x-env: &env
  A: "1"
x-steps: &steps
  - echo {{ .name }}
  - |
    echo two
    echo three
pipelines:
  build:
    concurrency: 0x2
    queue_limit: 1_0
    queue_strategy: replace
    start_delay: 1.5s
    continue_running_tasks_after_failure: yes
    retention_count: 010
    env:
      <<: *env
      PORT: 080
      DEBUG: yes
      EMPTY:
      FLOAT: 1.10
    tasks:
      lint: &lint
        script: *steps
        allow_failure: on
      test:
        <<: *lint
        allow_failure: off
        depends_on: lint
        retries: 2
      done:
        depends_on: [lint, test]
    on_error:
      script: echo failed
  other:
    env: *env
    tasks:
      again: *lint
`)
	p := all["build"]
	if p.Concurrency != 2 || *p.QueueLimit != 10 || p.RetentionCount != 8 {
		t.Errorf("numbers: concurrency %d, queue_limit %d, retention_count %d", p.Concurrency, *p.QueueLimit, p.RetentionCount)
	}
	if !p.ContinueAfterFailure || !p.Tasks["lint"].AllowFailure || p.Tasks["test"].AllowFailure {
		t.Error("yes, on and off are not the booleans of YAML 1.1")
	}
	if got := p.StartDelay; time.Duration(got) != 1500*time.Millisecond {
		t.Errorf("start_delay = %s", time.Duration(got))
	}
	for name, want := range map[string]Text{"A": "1", "PORT": "080", "DEBUG": "yes", "EMPTY": "", "FLOAT": "1.10"} {
		if got := p.Env[name]; got != want {
			t.Errorf("env %s = %q, want %q", name, got, want)
		}
	}
	script := p.Tasks["test"].Script
	if len(script) != 2 || script[1].Text != "echo two\necho three\n" || script[1].Line != 7 {
		t.Errorf("script = %+v", script)
	}
	if r := p.Tasks["test"].Retries; r == nil || r.Max != 2 {
		t.Errorf("retries = %+v", r)
	}
	if got := strings.Join(p.Order(), " "); got != "lint test done" {
		t.Errorf("order = %s", got)
	}
	if len(all["other"].Tasks["again"].Script) != 2 {
		t.Error("an alias does not reach into another pipeline")
	}
}

func TestParseRefuses(t *testing.T) {
	pipeline := func(keys string) string {
		return "pipelines:\n  p:\n    " + strings.ReplaceAll(strings.TrimSpace(keys), "\n", "\n    ") + "\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"unknown top key", "pipeline: {}", `1:1: unknown key "pipeline"`},
		{"unknown pipeline key", pipeline("concurency: 1"), `3:5: unknown key "concurency"`},
		{"unknown task key", pipeline("tasks:\n  a:\n    scripts: []"), `5:9: unknown key "scripts"`},
		{"duplicate key", pipeline("concurrency: 1\nconcurrency: 2"), `key "concurrency" stands here twice`},
		{"duplicate task", pipeline("tasks:\n  a: {}\n  a: {}"), `key "a" stands here twice`},
		{"second document", "pipelines: {}\n---\npipelines: {}", "a second document is not read"},
		{"concurrency", pipeline("concurrency: -1"), "3:5: concurrency must be greater than 0"},
		{"queue_limit", pipeline("queue_limit: -1"), "3:5: queue_limit must not be negative"},
		{"strategy", pipeline("queue_strategy: drop"), `unknown queue_strategy "drop"`},
		{"partition limit alone", pipeline("queue_partition_limit: 1"), "goes with queue_strategy: partitioned_replace only"},
		{"partition limit missing", pipeline("queue_strategy: partitioned_replace"), "must be 1 or more"},
		{"partition and queue limit", pipeline("queue_strategy: partitioned_replace\nqueue_partition_limit: 1\nqueue_limit: 1"), "queue_limit does not go with"},
		{"delay without queue", pipeline("start_delay: 1s\nqueue_limit: 0"), "start_delay needs a queue_limit above 0"},
		{"delay without unit", pipeline("start_delay: 5"), "a duration such as 90s is expected"},
		{"number for bool", pipeline("continue_running_tasks_after_failure: 2"), "true or false is expected"},
		{"text for number", pipeline(`concurrency: "2"`), "a whole number is expected"},
		{"schedule of no kind", pipeline("schedule:\n  - {tz: UTC}"), "4:9: schedule: give one of cron and every"},
		{"schedule of both kinds", pipeline("schedule:\n  - cron: '0 3 * * *'\n    every: 5m"), "5:9: schedule: give one of cron and every, not both"},
		{"impossible pattern", pipeline("schedule:\n  - cron: '0 3 30 2 *'"), `4:9: schedule: invalid schedule: cron pattern "0 3 30 2 *" matches no date`},
		{"fields of a pattern", pipeline("schedule: [{cron: '0 3 *'}]"), "has 3 fields, not five"},
		{"unknown zone", pipeline("schedule:\n  - cron: '0 3 * * *'\n    tz: Mars/Base"), `5:9: schedule: unknown time zone "Mars/Base"`},
		{"zone of an interval", pipeline("schedule:\n  - every: 5m\n    tz: UTC"), "5:9: schedule: a time zone belongs to a cron pattern alone"},
		{"short interval", pipeline("schedule: [{every: 500ms}]"), `3:17: schedule: invalid schedule: interval "500ms" is less than a second`},
		{"broken interval", pipeline("schedule: [{every: 1.5s}]"), "is not in whole seconds"},
		{"interval without a unit", pipeline("schedule: [{every: 5}]"), "a duration such as 90s is expected"},
		{"overlap", pipeline("schedule:\n  - every: 5m\n    overlap: no"), `5:9: schedule: unknown overlap "no": use skip, allow or replace`},
		{"unknown schedule key", pipeline("schedule:\n  - every: 5m\n    jitter: 1s"), `5:9: unknown key "jitter"`},
		{"variables of a schedule", pipeline("schedule:\n  - every: 5m\n    variables: [1]"), "5:20: a mapping is expected, not a list"},
		{"a number that JSON has not", pipeline("schedule:\n  - {every: 5m, variables: {x: .inf}}"), ".inf is no number that a job's variables can hold"},
		{"many entries", pipeline("schedule: [" + strings.Repeat("{every: 5m}, ", 100) + "{every: 5m}]"), "3:5: schedule has 101 entries, 100 at most"},
		{"missing dependency", pipeline("tasks:\n  a:\n    depends_on: [b]"), `5:22: task "a" depends on "b", which is not a task of this pipeline`},
		{"cycle", pipeline("tasks:\n  a: {depends_on: [c]}\n  b: {depends_on: [a]}\n  c: {depends_on: [b]}"), "tasks depend on each other: a → c → b → a"},
		{"self", pipeline("tasks:\n  a: {depends_on: a}"), "a → a"},
		{"template", pipeline("tasks:\n  a:\n    script:\n      - 'echo {{ .x'"), "6:13: template: unclosed action"},
		{"template in block", pipeline("tasks:\n  a:\n    script:\n      - |\n        echo\n        {{ nosuch .x }}"), `8:1: template: function "nosuch" not defined`},
		{"on_error twice", pipeline("tasks:\n  on_error: {}\non_error:\n  script: [x]"), "rename the task"},
		{"name with newline", "pipelines:\n  \"a\\nb\": {}", "must not have control characters"},
		{"name too long", "pipelines:\n  " + strings.Repeat("x", 129) + ": {}", "must have 1 to 128 bytes"},
		{"unknown alias", "pipelines: *nope", `unknown alias "nope"`},
		{"when", pipeline("tasks:\n  a:\n    when: '1 +'"), "cannot read when"},
		{"when not bool", pipeline("tasks:\n  a:\n    when: '\"x\"'"), "cannot read when"},
		{"runner and pool", pipeline("tasks:\n  a:\n    on: {runner: a, pool: b}"), "runner names one runner"},
		{"retries cause", pipeline("tasks:\n  a:\n    retries: {max: 1, on: [moon]}"), `unknown cause "moon"`},
		{"env name", pipeline("env: {'A=B': x}"), "must not have ="},
		{"list for pipeline", "pipelines:\n  p: [a]", "expected"},
		{"garbage", "\x00\x01", ""},
		{"tab", "pipelines:\n\tp: {}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("pipelines.yml", []byte(c.text))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse gave %v, want an *Error", err)
			}
			if got := e.Error(); !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("error = %q, want one line with %q", got, c.want)
			}
		})
	}
}

// A schedule's variables become JSON as they stand.
func TestScheduleVariables(t *testing.T) {
	const text = `
x-base: &base {region: eu}
pipelines:
  p:
    schedule:
      - cron: '0 3 * * *'
        tz: Europe/Berlin
        overlap: replace
        variables:
          <<: *base
          whole: 12345678901234567890
          part: 1.50
          old: 0x10
          big: 1.0e3
          text: "080"
          on: yes
          is: true
          none: ~
          list: [a, {b: 2}]
          block: |
            two
            lines
      - every: 90s
`
	all, err := Parse("p.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	timers := all["p"].Schedule
	const want = `{"big":1.0e3,"block":"two\nlines\n","is":true,"list":["a",{"b":2}],"none":null,"old":16,"on":"yes","part":1.50,"region":"eu","text":"080","whole":12345678901234567890}`
	if got := string(timers[0].Variables); got != want {
		t.Errorf("variables\n%s, want\n%s", got, want)
	}
	if timers[0].Cron != "0 3 * * *" || timers[0].TZ != "Europe/Berlin" || timers[0].Overlap != "replace" || time.Duration(timers[1].Every) != 90*time.Second || timers[1].Variables != nil {
		t.Errorf("timers %+v", timers)
	}
	for i, want := range []string{"0 0 3 * * *", "@every 1m30s"} {
		if p, err := timers[i].Pattern(); err != nil || p.String() != want {
			t.Errorf("pattern %q, %v; want %q", p, err, want)
		}
	}
	// Stored and read again it is the same.
	body, err := json.Marshal(all["p"])
	if err != nil {
		t.Fatal(err)
	}
	var again Pipeline
	if err := json.Unmarshal(body, &again); err != nil || !again.Same(all["p"]) || string(again.Schedule[0].Variables) != want {
		t.Errorf("read again: %s, %v", again.Schedule[0].Variables, err)
	}
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "# only a comment", "---\n", "pipelines:\n", "x-a: 1\n"} {
		if all, err := Parse("p.yml", []byte(text)); err != nil || len(all) != 0 {
			t.Errorf("Parse(%q) = %v, %v", text, all, err)
		}
	}
}

// A few lines of aliases of aliases must not fill the memory.
func TestAliasBomb(t *testing.T) {
	text := "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		prev := string(rune('0' + i - 1))
		text += "x-" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.Repeat("*a"+prev+", ", 9) + "*a" + prev + "]\n"
	}
	_, err := Parse("p.yml", []byte(text+"pipelines: {}\n"))
	if err == nil || !strings.Contains(err.Error(), "aliases unfold") {
		t.Fatalf("Parse = %v", err)
	}
}

func TestSameSeesEveryKey(t *testing.T) {
	base := "pipelines: {p: {tasks: {a: {script: [x]}}}}"
	p := mustParse(t, base)["p"]
	for _, changed := range []string{
		"pipelines: {p: {queue_strategy: partitioned_replace, queue_partition_limit: 1, tasks: {a: {script: [x]}}}}",
		"pipelines: {p: {on_error: {script: [x]}, tasks: {a: {script: [x]}}}}",
		"pipelines: {p: {interrupt: true, tasks: {a: {script: [x]}}}}",
		"pipelines: {p: {tasks: {a: {script: [x], when: 'true'}}}}",
		"pipelines: {p: {tasks: {a: {script: [x], grace: 1s}}}}",
	} {
		if p.Same(mustParse(t, changed)["p"]) {
			t.Errorf("not seen: %s", changed)
		}
	}
	if !p.Same(mustParse(t, "# moved\n"+base)["p"]) {
		t.Error("a definition that moved counts as changed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pipelines: {p: {tasks: {a: {script: [x], depends_on: [a]}}}}")
	f.Add("x: &a [*a]\npipelines:\n  <<: *a")
	f.Add("pipelines:\n  p:\n    <<: [{concurrency: 1}, {concurrency: 2}]\n    tasks: {a: !!str x}")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse("p.yml", []byte(text))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			return
		}
		for _, p := range all {
			if len(p.Order()) != len(p.Tasks) || findCycle(p.Tasks) != nil {
				t.Fatalf("a valid pipeline without an order: %q", text)
			}
		}
	})
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		text     string
		of, want int
	}{{"3", 10, 3}, {"30%", 10, 3}, {"1%", 10, 1}, {"100%", 7, 7}, {"0", 1, -1}, {"101%", 1, -1}, {"x", 1, -1}, {"-1", 1, -1}, {"", 1, -1}} {
		if got, err := Share(c.text, c.of); err == nil && got != c.want || err != nil && c.want != -1 {
			t.Errorf("%s of %d: %d, %v", c.text, c.of, got, err)
		}
	}
}
