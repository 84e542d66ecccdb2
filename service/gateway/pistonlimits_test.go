package gateway_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// toy is a language whose compiler does what the first line of a program says.
func toy(t *testing.T) lang.Row {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "runnel-test-toy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const program = `#!/bin/sh
case "$1" in
--version) echo toy 1.0 ;;
compile)
	read -r first <"$2"
	case $first in
	"# slow") echo compiling; sleep 1000 ;;
	"# busy") while :; do :; done ;;
	"# wrong") echo wrong >&2; exit 2 ;;
	esac
	cp "$2" "$3" ;;
*) . "$1" ;;
esac
`
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/toy", []byte(program), 0o755)); err != nil {
		t.Fatal(err)
	}
	return lang.Row{
		Name: "toy", Programs: []string{dir + "/toy"}, Source: "main.toy",
		Compile: []string{"{program}", "compile", "{source}", "{out}/main"}, Run: []string{"{program}", "{out}/main"},
	}
}

// Each limit of Piston's ends its own step, and the answer says so as Piston's did.
func TestPistonLimits(t *testing.T) {
	w := &world{t: t, fleet: fleet.New(t)}
	r, err := service.Start(rig.Within(t, time.Minute), w.fleet.Conn(), service.Config{Name: "r1", DataDir: t.TempDir(), Languages: []lang.Row{toy(t)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w.url = w.gateway()
	rig.EventuallyIn(t, 3*time.Minute, "the language is known", func() bool {
		_, text := w.do("GET", "/api/v2/runtimes", "", bearer(t))
		return strings.Contains(text, `"toy"`)
	})
	type stage struct {
		Stdout, Stderr, Output  string
		Code                    *int
		Signal, Status, Message *string
	}
	plain := func(s *stage) string {
		if s == nil {
			return "none"
		}
		all := []string{s.Stdout, "-", "-", "-", "-"}
		if s.Code != nil {
			code, _ := json.Marshal(*s.Code)
			all[1] = string(code)
		}
		for i, text := range []*string{s.Signal, s.Status, s.Message} {
			if text != nil {
				all[2+i] = *text
			}
		}
		return strings.Join(all, "|")
	}
	const slowly = `"compile_timeout":120000,"run_timeout":120000`
	const wall, cpu = "-|SIGKILL|TO|Time limit exceeded (wall clock)", "-|SIGKILL|TO|Time limit exceeded"
	for _, c := range []struct{ source, limits, compile, run string }{
		{"# slow", `"compile_timeout":3000,"run_timeout":120000`, "compiling\n|" + wall, "compiling\n|" + wall},
		{"# busy", `"compile_cpu_time":200,"run_timeout":120000`, "|" + cpu, "|" + cpu},
		{"# wrong", slowly, "|2|-|RE|Exited with error status 2", "|2|-|RE|Exited with error status 2"},
		{"echo on; sleep 1000", `"compile_timeout":120000,"run_timeout":3000`, "|0|-|-|-", "on\n|" + wall},
		{"echo on; while :; do :; done", `"run_timeout":120000,"run_cpu_time":200`, "|0|-|-|-", "on\n|" + cpu},
		{"exit 3", slowly, "|0|-|-|-", "|3|-|RE|Exited with error status 3"},
		{"kill -SEGV $$", slowly, "|0|-|-|-", "|-|SIGSEGV|SG|Caught fatal signal 11"},
		{"echo whole", slowly, "|0|-|-|-", "whole\n|0|-|-|-"},
	} {
		res, text := w.do("POST", "/api/v2/execute", `{"language":"toy","version":"*","files":[{"content":`+quoted(c.source)+`}],`+c.limits+`}`, bearer(t), "Content-Type: application/json")
		var got struct{ Run, Compile *stage }
		if err := json.Unmarshal([]byte(text), &got); err != nil || res.StatusCode != 200 {
			t.Errorf("%s with %s: %d %s", c.source, c.limits, res.StatusCode, text)
			continue
		}
		if plain(got.Compile) != c.compile || plain(got.Run) != c.run {
			t.Errorf("%s with %s:\n%s and %s, want\n%s and %s", c.source, c.limits, plain(got.Compile), plain(got.Run), c.compile, c.run)
		}
	}
}
