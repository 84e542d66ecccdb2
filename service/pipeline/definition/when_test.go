package definition

import (
	"strings"
	"testing"
)

func TestWhen(t *testing.T) {
	vars := map[string]any{"go": true, "n": int64(3), "s": "it's", "list": []any{"a", "b"}}
	tasks := map[string]Outcome{"a": {Status: "error", ExitCode: 4}, "with space": {Status: "done"}}
	for text, want := range map[string]bool{
		`vars.go`:                              true,
		`vars.n == 3`:                          true,
		`vars.missing == nil`:                  true,
		`"b" in vars.list`:                     true,
		`any(vars.list, # == "c")`:             false,
		`tasks.a.status == "error"`:            true,
		`tasks["with space"].exitCode != 0`:    false,
		`vars.s startsWith "it" && !(1 == 2)`:  true,
		`tasks.a.exitCode in [3, 4]`:           true,
		`(vars.missing ?? "x") == "x"`:         true,
		`vars.missing`:                         false,
		`tasks.nothing.status == "done"`:       false,
		`lower("A") == "a" ? vars.go : vars.x`: true,
	} {
		w, err := CompileWhen(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := w.Holds(vars, tasks); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`vars.s`:                   "cannot apply when: ",
		`vars.s > 1`:               "cannot apply when: ",
		`vars.s.deep`:              "cannot apply when: ",
		`repeat("x", 1<<40) == ""`: "cannot read when: ",
	} {
		w, err := CompileWhen(text)
		if err == nil {
			_, err = w.Holds(vars, tasks)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What a few bytes could make run for years, or fill the memory, is refused
// before anything runs.
func TestWhenIsBounded(t *testing.T) {
	for _, text := range []string{
		`repeat("x", 1000000000) == ""`,
		`len(1..1000000000) > 1`,
		`all(vars.l, all(vars.l, all(vars.l, # != 1)))`,
		`let a = vars.s; a == ""`,
		`reduce(vars.l, #acc + #acc, "x") == ""`,
		`len(map(vars.l, vars.l)) > 1`,
		`vars.f()`,
		`now() > now()`,
		`true` + strings.Repeat(` && true`, 1000),
		strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000),
		`1`, `"x"`, ``, `vars.`, `other.x`,
	} {
		if _, err := CompileWhen(text); err == nil || !strings.HasPrefix(err.Error(), "cannot read when: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}
