package file_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/schedule/file"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const whole = `
schedules:
  nightly:
    cron: '0 3 * * *'
    tz: Europe/Berlin
    pool: db
    from: 2026-12-01T00:00:00Z
    until: 2027-12-01T00:00:00Z
    jitter: 5m
    startDeadline: 1h
    overlap: replace
    task:
      name: backup
      argv: [./backup, --all, 080]
      env: {B: "2", A: 1}
      user: db
      timeout: 1h
      tags: {team: db}
      limits: {memoryMax: 64M}
      retries: {max: 2, backoff: 10s, on: [exit, oom]}
      concurrency: {key: db, max: 1}
  disk:
    every: 5m
    all: yes
    where: cpus > 0
    task: {command: df -h /}
  one: {every: 1h, on: web1, task: {script: "#!/bin/bash\ntrue", network: on, isolation: strict}}
  code: {every: 1h, task: {language: python3, code: print(1), args: [x]}}
`

func TestParse(t *testing.T) {
	all, err := file.Parse("schedules.yml", []byte(whole), now)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]schedule.Schedule{}
	var names []string
	for _, s := range all {
		by[s.Name] = s
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "code disk nightly one" {
		t.Errorf("names: %s", got)
	}
	nightly := by["nightly"]
	if nightly.Cron != "0 3 * * *" || nightly.Zone != "Europe/Berlin" || nightly.Pool != "db" || nightly.Deadline() != time.Hour || nightly.JitterMax() != 5*time.Minute ||
		nightly.Overlap != schedule.Replace || nightly.From == nil || nightly.Until.Year() != 2027 {
		t.Errorf("nightly: %+v", nightly)
	}
	task := nightly.Task.GetSpec().GetTask()
	if task.GetArgv()[2] != "080" || task.GetParams()[0].GetName() != "A" || task.GetParams()[0].GetValue() != "1" || task.GetUser() != "db" || task.GetTags()["team"] != "db" {
		t.Errorf("its task: %v", task)
	}
	if r, err := task.RetryTerms(); err != nil || r.Max != 2 || r.Backoff != 10*time.Second || len(r.On) != 2 {
		t.Errorf("its retries: %+v, %v", r, err)
	}
	if task.GetLimits().GetMemoryMax().GetStringValue() != "64M" || task.GetConcurrency().GetKey() != "db" {
		t.Errorf("its limits: %v", task)
	}
	if d := by["disk"]; !d.All || d.Where != "cpus > 0" || d.Task.GetSpec().GetTask().GetCommands()[0] != "df -h /" {
		t.Errorf("disk: %+v", d)
	}
	if o := by["one"]; !o.All || o.On[0] != "web1" || !o.Task.GetSpec().GetTask().GetNetwork() || len(o.Task.GetSpec().GetTask().GetFile().GetContent()) == 0 {
		t.Errorf("one: %+v", o)
	}
	if c := by["code"].Task.GetSpec().GetTask(); c.GetLanguage().GetName() != "python3" || string(c.GetFile().GetContent()) != "print(1)" || c.GetArgv()[0] != "x" {
		t.Errorf("code: %v", c)
	}
}

func TestEmptyFiles(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "schedules:\n", "schedules: {}\n"} {
		if all, err := file.Parse("x.yml", []byte(text), now); err != nil || len(all) != 0 {
			t.Errorf("%q: %v, %v", text, all, err)
		}
	}
}

// What is wrong is said with its place, and a caret under it.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"schedule: {}", `x.yml:1:1: unknown key "schedule"`},
		{"- a", "x.yml:1:1: a mapping with the key schedules is expected"},
		{"schedules: [a]", "x.yml:1:12: schedules: a mapping of schedules by name is expected, not a list"},
		{"schedules:\n  a:\n    every: 5m\n    colour: red\n    task: {command: x}", `x.yml:4:5: unknown key "colour"`},
		{"schedules:\n  a:\n    every: 5m\n    task:\n      comand: x", `x.yml:5:7: unknown key "comand"`},
		{"schedules:\n  a:\n    every: 5m\n    every: 6m\n    task: {command: x}", `x.yml:4:5: key "every" stands here twice`},
		{"schedules:\n  a:\n    every: [5m]\n    task: {command: x}", "x.yml:3:12: "},
		{"schedules:\n  a:\n    every: 500ms\n    task: {command: x}", "x.yml:2:3: a: "},
		{"schedules:\n  a:\n    cron: 0 0 30 2 *\n    task: {command: x}", "matches no date"},
		{"schedules:\n  a:\n    cron: 0 3 * * *\n    tz: Mars/Olympus\n    task: {command: x}", "Mars/Olympus"},
		{"schedules:\n  a:\n    at: 2020-01-01T00:00:00Z\n    task: {command: x}", "in the past"},
		{"schedules:\n  a:\n    every: 5m\n    from: tomorrow\n    task: {command: x}", `from: "tomorrow" is no time such as`},
		{"schedules:\n  a:\n    every: 5m", "x.yml:2:3: a: task is missing"},
		{"schedules:\n  a:\n    every: 5m\n    task: {command: x, argv: [y]}", "give one of command, argv, script"},
		{"schedules:\n  a:\n    every: 5m\n    task: {command: x, args: [y]}", "need a language"},
		{"schedules:\n  a:\n    every: 5m\n    task: {command: x, timeout: 5}", "task.timeout"},
		{"schedules:\n  a:\n    every: 5m\n    task: {command: x, retries: {max: 1, on: [boredom]}}", "boredom"},
		{"schedules:\n  a:\n    every: 5m\n    task: {command: x, limits: {memory: 1}}", "memory"},
		{"schedules:\n  a b:\n    every: 5m\n    task: {command: x}", "x.yml:2:3: a b: name"},
		{"schedules:\n  a:\n    every: 5m\n    overlap: maybe\n    task: {command: x}", "it is skip, allow or replace"},
		{"schedules: {}\n---\nschedules: {}", "a second document is not read"},
		{strings.Repeat("#", 1<<20+1), "1048576 at most"},
	} {
		_, err := file.Parse("x.yml", []byte(c.text), now)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v, want %s", c.text, err, c.want)
			continue
		}
		var placed *definition.Error
		if !errors.As(err, &placed) || placed.Line > 0 && !strings.Contains(placed.Excerpt, "^") {
			t.Errorf("%.60q: no caret: %+v", c.text, err)
		}
	}
}

// A schedule of a file is what the wire would have been asked for.
func TestAsOnTheWire(t *testing.T) {
	all, err := file.Parse("x.yml", []byte("schedules: {a: {every: 5m, task: {argv: ['true'], name: n}}}"), now)
	if err != nil {
		t.Fatal(err)
	}
	asked := schedule.FromMessage(&pb.Schedule{Name: "a", Every: "5m", Task: &pb.Task{Argv: []string{"true"}, Name: "n"}})
	got, err := pb.MarshalJSON(all[0].Message(now))
	want, wantErr := pb.MarshalJSON(asked.Message(now))
	if err != nil || wantErr != nil || string(got) != string(want) {
		t.Errorf("%s\n%s\n%v %v", got, want, err, wantErr)
	}
}
