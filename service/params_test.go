package service_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
)

// params are given as name, value, name, value …
func paramsTask(script string, params ...string) string {
	type param struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	list := []param{}
	for i := 0; i < len(params); i += 2 {
		list = append(list, param{params[i], params[i+1]})
	}
	b, err := json.Marshal(map[string]any{"argv": []string{"/bin/bash", "-c", script}, "params": list})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestParams(t *testing.T) {
	t.Setenv("FROM_RUNNER", "runner's own")
	t.Setenv("NATS_PASSWORD", "secret")
	t.Setenv("RUNNEL_CREDS", "secret")
	t.Setenv("NOTIFY_SOCKET", "secret")
	f := newFleet(t)
	f.start(service.Config{})
	for _, c := range []struct {
		name, script, want string
		params             []string
	}{
		{"plain", `printf %s "$a"`, "1", []string{"a", "1"}},
		{"spaces and shell characters are literal", `printf %s "$a"`, "  a  b'\"`$(x);*", []string{"a", "  a  b'\"`$(x);*"}},
		{"empty value", `printf %s "${a-unset}"`, "", []string{"a", ""}},
		{"newlines", `printf %s "$a"`, "1\n2\n", []string{"a", "1\n2\n"}},
		{"not ASCII", `printf %s "$a"`, "ä€😀", []string{"a", "ä€😀"}},
		{"the last of two wins", `printf %s "$a"`, "2", []string{"a", "1", "a", "2"}},
		{"a reference is to the first of two", `printf %s "$b"`, "1", []string{"a", "1", "a", "2", "b", "$a"}},
		{"a reference forward", `printf %s "$a"`, "x", []string{"a", "$b", "b", "x"}},
		{"a chain", `printf %s "$a"`, "x", []string{"a", "$b", "b", "$c", "c", "$d", "d", "x"}},
		{"a reference to what was overridden by itself", `printf %s "$a"`, "1", []string{"a", "1", "a", "$a"}},
		{"$$x", `printf %s "$a"`, "$$x", []string{"a", "$$x", "x", "no"}},
		{"${BASHPID}x", `printf %s "$a"`, "${BASHPID}x", []string{"a", "${BASHPID}x"}},
		{"#x", `printf %s "$a"`, "#x", []string{"a", "#x"}},
		{"pre$x", `printf %s "$a"`, "pre$x", []string{"a", "pre$x", "x", "no"}},
		{"$x-suffix", `printf %s "$a"`, "$x-suffix", []string{"a", "$x-suffix", "x", "no"}},
		{"${x}", `printf %s "$a"`, "${x}", []string{"a", "${x}", "x", "no"}},
		{"unknown", `printf %s "$a"`, "$nope", []string{"a", "$nope"}},
		{"not a variable of the runner's either", `printf %s "$a"`, "$FROM_RUNNER", []string{"a", "$FROM_RUNNER"}},
		{"a lone $", `printf %s "$a"`, "$", []string{"a", "$"}},
		{"the runner's environment", `printf %s "$FROM_RUNNER"`, "runner's own", nil},
		{"a param is before it", `printf %s "$FROM_RUNNER"; env | grep -c ^FROM_RUNNER=`, "mine1\n", []string{"FROM_RUNNER", "mine"}},
		{"no secret of the runner", `printf %s "$NATS_PASSWORD$RUNNEL_CREDS$NOTIFY_SOCKET"`, "", nil},
		{"PATH can be set", `printf %s "$PATH"`, "/nowhere", []string{"PATH", "/nowhere"}},
		{"a name that no shell can spell", `env | grep -a ^a.b=`, "a.b=1\n", []string{"a.b", "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			got := g.run(paramsTask(c.script, c.params...))
			if got.stdout != c.want || got.end.State != "COMPLETE" {
				t.Errorf("got %q, want %q; %+v", got.stdout, c.want, got.end.End)
			}
		})
	}
	// It is for the commands, and not for their shell.
	if got := f.run(`{"commands":["echo $PATH $1"],"params":[{"name":"PATH","value":"/nowhere"}]}`); got.stdout != "/nowhere\n" {
		t.Errorf("commands with a PATH: got %q, %+v", got.stdout, got.end.End)
	}
	// The value is literal; the script evaluates what it likes.
	if got := f.run(paramsTask(`eval "echo $a"`, "a", "$$name1")); !strings.HasSuffix(got.stdout, "name1\n") || strings.HasPrefix(got.stdout, "$$") {
		t.Errorf("got %q, want a process id and name1", got.stdout)
	}
	for _, c := range []struct {
		name, text string
		params     []string
	}{
		{"a cycle of one", "$a → $a", []string{"a", "$a"}},
		{"a cycle of two", "$b → $a → $b", []string{"a", "$b", "b", "$a"}},
		{"a chain into a cycle", "$c", []string{"a", "$b", "b", "$c", "c", "$b"}},
		{"a NUL in a name", "NUL", []string{"a\x00b", "1"}},
		{"a NUL in a value", "NUL", []string{"a", "1\x002"}},
		{"the marker", "RUNNEL_MARK is reserved", []string{"RUNNEL_MARK", "mine"}},
		{"an empty name", "empty", []string{"", "1"}},
		{"= in a name", `"="`, []string{"a=b", "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			g.refused(400, c.text, "runner.task.any", `{"kind":"runner","spec":{"task":`+paramsTask("true", c.params...)+`}}`)
		})
	}
}
