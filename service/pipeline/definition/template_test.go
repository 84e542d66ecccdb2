package definition

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func variables(t *testing.T, text string) map[string]any {
	t.Helper()
	v, err := ReadVariables([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRender(t *testing.T) {
	const vars = `{"n":10000000,"big":12345678901234567890,"huge":123456789012345678901234567890,"f":1.25,"e":1e3,"small":1e-7,
		"zero":0,"s":"a b","list":["x",1],"yes":true,"null":null,"tpl":"{{ .s }}"}`
	for _, c := range []struct{ text, want string }{
		{"{{ .n }} {{ .big }} {{ .huge }} {{ .f }} {{ .e }} {{ .small }}", "10000000 12345678901234567890 123456789012345678901234567890 1.25 1000 0.0000001"},
		{`{{ if eq .n 10000000.0 }}y{{ end }}{{ if lt .f 2 }}y{{ end }}{{ if gt .n 1.5 }}y{{ end }}`, "yyy"},
		{`{{ if eq .s "a b" "c" }}y{{ end }}{{ if ne .s "x" }}y{{ end }}`, "yy"},
		{`{{ printf "%d %05d %.1f %s %v %q" .n .e .n .s .f .s }}`, `10000000 01000 10000000.0 a b 1.25 "a b"`},
		{`{{ if .zero }}y{{ else }}n{{ end }}`, "n"},
		{`{{ .null | default "d" }} {{ .s | default "d" }} {{ index . "nope" | default "d" }} {{ .zero | default 7 }}`, "d a b d 7"},
		{`{{ quote .s }} {{ json .list }} {{ join "," .list }}`, `'a b' ["x",1] x,1`},
		{`{{ .tpl }} {{ .ENV }} {{ .__jobID }}`, "{{ .s }} e job"},
		{"{{ range .list }}<{{ . }}>{{ end }}", "<x><1>"},
	} {
		got, err := Script{{Text: c.text}}.Render(NewScope("job", variables(t, vars), map[string]string{"ENV": "e", "s": "env"}))
		if err != nil || got[0] != c.want {
			t.Errorf("%s = %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	for _, c := range []struct {
		script Script
		want   string
	}{
		{Script{{Text: "ok"}, {Text: "a\n{{ .nope }}"}}, `cannot render script item 2, line 2: the job has no variable "nope"`},
		{Script{{Text: "{{ .s.x }}"}}, "cannot render script item 1, line 1: {{ .s.x }}: can't evaluate field x"},
		{Script{{Text: `{{ range .big }}{{ range $.big }}{{ range $.big }}xxxxxxxxxxxxxxxxxxxx{{ end }}{{ end }}{{ end }}`}}, "longer than 8 MiB"},
	} {
		vars := map[string]any{"s": "x", "big": make([]int, 1000)}
		_, err := c.script.Render(NewScope("j", vars, nil))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
	}
}

// Whatever a value is, a quoted one reaches the program as it is and is no code.
func TestQuoteIsOneWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := strings.ReplaceAll(rapid.String().Draw(t, "value"), "\x00", "")
		items, err := Script{{Text: "printf %s {{ quote .v }}"}}.Render(NewScope("j", map[string]any{"v": value}, nil))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash")
		cmd.Stdin = strings.NewReader(ShellScript(items))
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != value {
			t.Fatalf("%q came back as %q, %v", value, out, err)
		}
	})
}

func TestShellScript(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []string
		out   string
		code  int
	}{
		{"status of the item as a whole", []string{"false; echo on", "echo two"}, "on\ntwo\n", 0},
		{"and list", []string{"false && echo no", "echo never"}, "", 1},
		{"first failing item ends it", []string{"echo a", "exit_with() { return 7; }; exit_with", "echo never"}, "a\n", 7},
		{"state is kept", []string{"x=1; cd /", "f() { echo $x $PWD; }", "f"}, "1 /\n", 0},
		{"exit 0 ends well", []string{"echo a; exit 0", "echo never"}, "a\n", 0},
		{"unset variables", []string{`echo "[$nope]"`}, "[]\n", 0},
		{"block scalar", []string{"cat <<X\n1 '2' \"3\"\nX\n", "echo end"}, "1 '2' \"3\"\nend\n", 0},
		{"quotes", []string{`echo 'it'"'"'s'`}, "it's\n", 0},
		{"set -e of the author", []string{"set -e", "false; echo no"}, "", 1},
		{"status at the start of an item is 0", []string{"true", "echo $?"}, "0\n", 0},
		{"background", []string{"sleep 0 & wait", "echo ok"}, "ok\n", 0},
	} {
		for _, shell := range []string{"bash", "sh"} {
			t.Run(c.name+" in "+shell, func(t *testing.T) {
				cmd := exec.Command(shell)
				cmd.Stdin = strings.NewReader(ShellScript(c.items))
				out, _ := cmd.Output()
				if string(out) != c.out || cmd.ProcessState.ExitCode() != c.code {
					t.Errorf("got %q, exit %d; want %q, exit %d", out, cmd.ProcessState.ExitCode(), c.out, c.code)
				}
			})
		}
	}
	cmd := exec.Command("bash")
	cmd.Stdin = strings.NewReader(ShellScript([]string{"echo first", `echo "open`, "echo never"}))
	if out, _ := cmd.Output(); string(out) != "first\n" || cmd.ProcessState.ExitCode() == 0 {
		t.Errorf("an open quote: %q, exit %d", out, cmd.ProcessState.ExitCode())
	}
}
