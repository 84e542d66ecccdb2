package definition

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Numbers keep their digits, and have Go's own types where they fit.
func TestReadVariables(t *testing.T) {
	for text, want := range map[string]any{
		"1": int64(1), "-1": int64(-1), "10000000": int64(10000000), "3.0": int64(3), "1e3": int64(1000), "0": int64(0), "-0": int64(0),
		"9223372036854775807": int64(9223372036854775807), "9223372036854775808": uint64(9223372036854775808),
		"18446744073709551615": uint64(18446744073709551615), "18446744073709551616": "18446744073709551616",
		"12345678901234567890123": "12345678901234567890123", "-9223372036854775809": "-9223372036854775809",
		"1.5": Number(1.5), "1e-7": Number(1e-7), "1e19": uint64(10000000000000000000), "1e25": "10000000000000000000000000", "1e999": "1e999",
		`"1"`: "1", "true": true, "null": nil,
	} {
		vars, err := ReadVariables([]byte(`{"x":` + text + `}`))
		if got := vars["x"]; err != nil || got != want {
			t.Errorf("%s is %T %v, want %T %v; %v", text, got, got, want, want, err)
		}
	}
	deep, err := ReadVariables([]byte(`{"x":{"y":[1,{"z":2.5}]}}`))
	if got := fmt.Sprint(deep["x"]); err != nil || got != "map[y:[1 map[z:2.5]]]" {
		t.Errorf("deep: %s, %v", got, err)
	}
	for text, want := range map[string]string{
		"": "", " \n": "", "null": "", "{}": "",
		"[1]": "cannot read variables", "{": "cannot read variables", `{"a":1} {}`: "more follows the object", `{"a":}`: "cannot read variables",
		strings.Repeat(" ", MaxVariables+1): "cannot use variables: they have 524289 bytes, 524288 at most",
	} {
		vars, err := ReadVariables([]byte(text))
		if want == "" && (err != nil || vars == nil || len(vars) != 0) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: %v, %v", text, vars, err)
		}
	}
}

// What was written as JSON is read as it was.
func TestVariablesRoundTrip(t *testing.T) {
	const text = `{"a":12345678901234567890,"b":0.1,"c":100000000000000000000000,"d":1e-9,"e":"x","f":[1.5,null,true],"g":{"h":-1}}`
	vars, err := ReadVariables([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(vars)
	const want = `{"a":12345678901234567890,"b":0.1,"c":"100000000000000000000000","d":0.000000001,"e":"x","f":[1.5,null,true],"g":{"h":-1}}`
	if err != nil || string(body) != want {
		t.Errorf("got %s, %v\nwant %s", body, err, want)
	}
}

// Comparisons and printf take numbers of either kind, since JSON does not tell 3
// from 3.0.
func TestTemplateNumbers(t *testing.T) {
	vars, err := ReadVariables([]byte(`{"one":1,"three":3.0,"half":1.5,"big":18446744073709551615,"huge":18446744073709551616,"s":"3","list":[1],"yes":true,"nil":null}`))
	if err != nil {
		t.Fatal(err)
	}
	for template, want := range map[string]string{
		`{{ eq .three 3 }} {{ eq .three 3.0 }} {{ eq .half 1.5 }} {{ ne .one 2 }}`:             "true true true true",
		`{{ eq .s 3 }} {{ eq .s "3" }} {{ eq .yes true }} {{ eq .nil nil }}`:                   "false true true true",
		`{{ eq .one 5 4 1 }} {{ eq .one 5 4 }}`:                                                "true false",
		`{{ lt .half .three }} {{ le .three 3 }} {{ gt .big 1 }} {{ ge .one 1 }}`:              "true true true true",
		`{{ lt "a" "b" }} {{ gt .s "2" }}`:                                                     "true true",
		`{{ printf "%d %5d|%-3d|%x" .three .one .one .big }}`:                                  "3     1|1  |ffffffffffffffff",
		`{{ printf "%.2f %g %d%%" .one .half .half }}`:                                         "1.00 1.5 %!d(definition.Number=1.5)%",
		`{{ printf "%s %v %q" .s .three .s }}`:                                                 `3 3 "3"`,
		`{{ printf "%[2]s %*d" .s .s }}`:                                                       "3 %!(BADWIDTH)%!d(MISSING)",
		`{{ .huge }} {{ .big }} {{ .half }} {{ .three }}`:                                      "18446744073709551616 18446744073709551615 1.5 3",
		`{{ if .nil }}a{{ else }}b{{ end }}{{ if .one }}c{{ end }}`:                            "bc",
		`{{ json .list }} {{ join "," .list }} {{ join "-" (split "," "a,b") }}`:               "[1] 1 a-b",
		`{{ upper "a" }}{{ lower "B" }}{{ trim " c " }}{{ replace "a" "b" "aa" }}`:             "Abcbb",
		`{{ contains "b" "abc" }} {{ hasPrefix "a" "ab" }} {{ hasSuffix "a" "ab" }}`:           "true true false",
		`{{ default "d" .nil }} {{ default "d" "" }} {{ default "d" .one }} {{ default "d" }}`: "d d 1 d",
		`{{ quote .s }} {{ quote "it's" }} {{ quote .nil }}`:                                   `'3' 'it'\''s' ''`,
	} {
		got, err := Script{{Text: template}}.Render(NewScope("id", vars, nil))
		if err != nil || got[0] != want {
			t.Errorf("%s\n gives %q, %v\n want  %q", template, got, err, want)
		}
	}
	for template, want := range map[string]string{
		`{{ eq .list .list }}`: "lists and mappings can't be compared",
		`{{ lt .s 1 }}`:        "can't compare 3 with 1",
		`{{ eq .one }}`:        "eq needs two values",
		`{{ join "," .one }}`:  "join wants a list",
		`{{ .one.two }}`:       "line 1: {{ .one.two }}",
	} {
		if _, err := (Script{{Text: template}}).Render(NewScope("id", vars, nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", template, err, want)
		}
	}
}

// Scalars have the spellings of YAML 1.1 where a number or a boolean is asked for,
// and stay as they were written where text is.
func TestScalars(t *testing.T) {
	parse := func(key, value string) (*Pipeline, error) {
		all, err := Parse("p.yml", []byte("pipelines:\n  p:\n    "+key+": "+value+"\n    env: {X: "+value+"}\n"))
		return all["p"], err
	}
	for text, want := range map[string]int64{
		"2": 2, "0x2": 2, "0b10": 2, "0o17": 15, "017": 15, "1_000": 1000, "3.0": 3, "1.0e3": 1000, "+4": 4, "~": 0, "": 0, "!!int 7": 7,
	} {
		if p, err := parse("retention_count", text); err != nil || int64(p.RetentionCount) != want {
			t.Errorf("number %q: %v, want %d", text, err, want)
		}
	}
	for _, text := range []string{"two", `"2"`, "1.5", "[1]", "{a: 1}", "1__0", "true", "99999999999999999999"} {
		if _, err := parse("retention_count", text); err == nil {
			t.Errorf("number %q was taken", text)
		}
	}
	for text, want := range map[string]bool{
		"yes": true, "Yes": true, "YES": true, "on": true, "y": true, "true": true, "True": true, "no": false, "off": false, "N": false, "false": false, "~": false,
	} {
		if p, err := parse("interrupt", text); err != nil || bool(p.Interrupt) != want {
			t.Errorf("boolean %q: %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{"yEs", `"yes"`, "1", "[true]", "truee"} {
		if _, err := parse("interrupt", text); err == nil {
			t.Errorf("boolean %q was taken", text)
		}
	}
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, `"2ms"`: 2 * time.Millisecond, "0": 0, "~": 0} {
		if p, err := parse("start_delay", text); err != nil || time.Duration(p.StartDelay) != want {
			t.Errorf("duration %q: %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{"90", "-1s", "soon", "[1s]"} {
		if _, err := parse("start_delay", text); err == nil {
			t.Errorf("duration %q was taken", text)
		}
	}
	for text, want := range map[string]string{"080": "080", "yes": "yes", "1_0": "1_0", "1.50": "1.50", "~": "", "'~'": "~", "0x10": "0x10", "2026-01-02": "2026-01-02", "!!str 5": "5"} {
		if p, err := parse("variables", "merge\n    on_error: {env: {X: "+text+"}}\n    x"); err == nil {
			t.Errorf("an unknown key was taken: %v", p)
		}
		all, err := Parse("p.yml", []byte("pipelines: {p: {env: {X: "+text+"}}}"))
		if err != nil || string(all["p"].Env["X"]) != want {
			t.Errorf("text %q is %q, %v; want %q", text, all["p"].Env["X"], err, want)
		}
	}
}

// Anchors, aliases and merge keys reach everywhere in a file, and no further than
// is good for the memory.
func TestAliases(t *testing.T) {
	const text = `
x-env: &env {A: one, B: one}
x-more: &more {B: two, C: two}
x-script: &script
  - echo shared
  - |
    echo block
    echo "{{ .x }}"
pipelines:
  a:
    env: &all
      <<: [*env, *more]
      A: own
    tasks:
      t: &task {script: *script, timeout: 5s}
  b:
    env: *all
    tasks:
      t:
        <<: *task
        timeout: 6s
      u: *task
`
	all := mustParse(t, text)
	if got := fmt.Sprint(all["a"].Env); got != "map[A:own B:one C:two]" {
		t.Errorf("merged: %s", got)
	}
	if got := fmt.Sprint(all["b"].Env); got != "map[A:own B:one C:two]" {
		t.Errorf("an alias into another pipeline: %s", got)
	}
	b := all["b"].Tasks
	if len(b["t"].Script) != 2 || time.Duration(b["t"].Timeout) != 6*time.Second || time.Duration(b["u"].Timeout) != 5*time.Second {
		t.Errorf("tasks: %+v, %+v", b["t"], b["u"])
	}
	if b["u"].Script[1].Text != "echo block\necho \"{{ .x }}\"\n" {
		t.Errorf("the block: %q", b["u"].Script[1].Text)
	}
	for text, want := range map[string]string{
		"pipelines: {p: {env: {<<: 5}}}":                                "<< merges a mapping",
		"pipelines: {p: {env: !secret {A: b}}}":                         "tag !secret is not read here",
		"a: &a {b: 1}\npipelines: *a":                                   `unknown key "a"`,
		"x-a: &a {b: *a}\npipelines: {}":                                "alias",
		"pipelines: {p: {tasks: {a: {script: &s x}, b: {script: *t}}}}": `unknown alias "t"`,
	} {
		if _, err := Parse("p.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
}
