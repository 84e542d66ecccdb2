package definition

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		on    Names
		cause string
		want  bool
	}{
		{nil, "exit", true}, {nil, "lost", true}, {nil, "timeout", true}, {nil, "", false},
		{Names{"lost"}, "exit", false}, {Names{"lost", "oom"}, "oom", true}, {Names{"lost"}, "", false},
	} {
		if got := (&Retries{On: c.on}).Covers(c.cause); got != c.want {
			t.Errorf("on %v after %q: %v", c.on, c.cause, got)
		}
	}
	r := &Retries{Backoff: Duration(10 * time.Second)}
	var waits []string
	for attempt := 2; attempt < 13; attempt++ {
		waits = append(waits, r.Wait(attempt).String())
	}
	if got := strings.Join(waits, " "); got != "10s 20s 40s 1m20s 2m40s 5m20s 10m40s 21m20s 42m40s 1h0m0s 1h0m0s" {
		t.Errorf("waits %s", got)
	}
	if (&Retries{}).Wait(5) != 0 {
		t.Error("a wait without a backoff")
	}
}

// In the order of tasks each comes after those that it depends on, whatever the graph.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Pipeline{Tasks: map[string]*Task{}}
		var names []string
		for i := range rapid.IntRange(0, 12).Draw(t, "tasks") {
			name := rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "name")
			if p.Tasks[name] != nil {
				continue
			}
			task := &Task{}
			if i > 0 {
				task.DependsOn = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, min(3, len(names)), rapid.ID[string]).Draw(t, "deps")
			}
			p.Tasks[name], names = task, append(names, name)
		}
		order := p.Order()
		if len(order) != len(p.Tasks) || !slices.Equal(order, p.Order()) {
			t.Fatalf("order %v of %d tasks", order, len(p.Tasks))
		}
		for i, name := range order {
			for _, dep := range p.Tasks[name].DependsOn {
				if slices.Index(order, dep) >= i {
					t.Fatalf("%s comes before %s, which it depends on: %v", name, dep, order)
				}
			}
		}
	})
}

func TestVariableNames(t *testing.T) {
	p := mustParse(t, `
pipelines:
  p:
    env: {FROM_ENV: x}
    tasks:
      a:
        env: {OWN: y}
        script:
          - echo {{ .one }} {{ .FROM_ENV }} {{ .OWN }} {{ .__jobID }} {{ default "x" .two }}
          - '{{ if eq .three 1 }}{{ .four.deep }}{{ else }}{{ .five }}{{ end }}'
          - '{{ range .six }}{{ .inner }}{{ $.seven }}{{ end }}{{ with .eight }}{{ .inner }}{{ else }}{{ .nine }}{{ end }}'
    on_error: {script: ['echo {{ .failedTaskName }} {{ .ten }}']}
`)["p"]
	if got := strings.Join(p.VariableNames(), " "); got != "eight five four nine one seven six ten three two" {
		t.Errorf("got %s", got)
	}
}

// What a variable is when it is missing, and who uses it.
func TestVariablesUsed(t *testing.T) {
	for text, want := range map[string]string{
		"{{ .v }}":                                        "v! <nil>",
		"{{ $.v }}":                                       "v! <nil>",
		"{{ if .v }}x{{ end }}":                           "v! <nil>",
		`{{ .v | default "d" }}`:                          "v d",
		`{{ .v | lower | default "d" | upper }}`:          "v d",
		`{{ default 7 .v }}{{ default 8 .v }}`:            "v 7",
		`{{ default 1.5 .v }}`:                            "v 1.5",
		`{{ default true .v }}`:                           "v true",
		`{{ default .w .v }}`:                             "v <nil>, w! <nil>",
		`{{ .v | default "d" }}{{ .v }}`:                  "v! d",
		`{{ index . "v" }}`:                               "v? <nil>",
		`{{ index $ "v" | default "d" }}`:                 "v? d",
		`{{ (index . "v" | default "d") }}`:               "v? d",
		`{{ default "d" (index . "v") }}`:                 "v? d",
		`{{ index .v "k" }}`:                              "v! <nil>",
		`{{ if index . "v" }}{{ .v }}{{ end }}`:           "v? <nil>",
		`{{ if index . "v" }}{{ else }}{{ .v }}{{ end }}`: "v! <nil>",
		`{{ if eq (index . "v") 1 }}{{ .v.x }}{{ end }}`:  "v? <nil>",
		`{{ range .v }}{{ index . "w" }}{{ end }}`:        "v! <nil>",
		`{{ with index . "v" }}{{ .w }}{{ end }}`:         "v? <nil>",
		`{{ index . "v" }}{{ .v | default "d" }}`:         "v d",
		`{{ define "t" }}{{ .v }}{{ end }}`:               "v! <nil>",
		`{{ printf "%s" .v | quote }}`:                    "v! <nil>",
		`{{ .E }}{{ .__jobID }}`:                          "",
	} {
		p := &Pipeline{Env: map[string]Text{"E": "x"}, Tasks: map[string]*Task{"a": {Script: Script{{Text: text}}}}}
		var got []string
		for _, v := range p.VariablesUsed() {
			need := map[[2]bool]string{{true, false}: "!", {false, true}: "?"}[[2]bool{v.Required, v.Optional}]
			got = append(got, fmt.Sprint(v.Name, need, " ", v.Default))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	p := mustParse(t, `
pipelines:
  p:
    tasks:
      b: {script: ['{{ .v }}'], depends_on: a, env: {OWN: x}, when: 'vars.w == 1 && vars["x y"] != 2 && tasks.a.exitCode == 0'}
      a: {script: ['{{ .v }}', '{{ .OWN }}']}
    on_error: {script: ['{{ .v }} {{ .failedTaskName }}']}
`)["p"]
	if got := fmt.Sprint(p.VariablesUsed()); got != "[{OWN true false <nil> [a]} {v true false <nil> [a b on_error]} {w false true <nil> [b]} {x y false true <nil> [b]}]" {
		t.Errorf("got %s", got)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"{memoryMax: 64M}": "",
		"{cpuTime: 5s}":    "",
		"{memory: 64M}":    "memory",
	} {
		_, err := Parse("f", []byte("pipelines: {p: {tasks: {a: {script: [x], limits: "+text+"}}}}"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f:1:")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestInterruptible(t *testing.T) {
	for text, want := range map[string]bool{
		"{tasks: {a: {interruptible: true}, b: {interruptible: yes}}}": true,
		"{tasks: {a: {interruptible: true}, b: {}}}":                   false,
		"{}": true,
	} {
		if got := mustParse(t, "pipelines: {p: "+text+"}")["p"].Interruptible(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
