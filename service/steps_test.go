package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
)

// log.merge gives both streams one pipe: the order is exact, and no record says
// which stream it was.
func TestMerge(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	c := f.two()
	const alternating = `for i in $(seq 200); do echo out $i; echo err $i >&2; done`
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprint("out ", i+1), fmt.Sprint("err ", i+1))
	}
	for _, level := range f.card("web1")["isolation"].([]any) {
		for _, limits := range []string{`{}`, `{"openFiles":50}`} {
			id := fmt.Sprintf("merged-%v-%d", level, len(limits))
			c[0].start("any", id, commands(alternating, `"log":{"merge":true}`, fmt.Sprintf(`"isolation":%q`, level), `"limits":`+limits))
			run := c[1].final(id)
			l, err := c[0].agrees(run)
			if err != nil || strings.Join(l.lines, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: %v, got %q", id, err, l.lines)
			}
			for _, record := range f.log(run["logSubject"].(string)) {
				if record["stream"] != nil {
					t.Fatalf("%s: a record names a stream: %v", id, record)
				}
			}
		}
	}
}

// What a compiler prints is marked, and nothing else is.
func TestCompileStepIsMarked(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for _, c := range []struct{ name, source, marked string }{
		{"a warning", "#warning look here\n#include <stdio.h>\nint main(){ puts(\"ran\"); return 0; }", "look here"},
		{"an error", "int main(){ return nothing; }", "nothing"},
	} {
		got := f.run(codeTask("c", c.source, `,"isolation":"none"`))
		if got.end.State == "FAILED" {
			t.Skipf("no C compiler: %+v", got.end.End)
		}
		marked, others := "", ""
		for _, record := range f.log("runner.log.web1." + got.id) {
			if record["step"] == "compile" {
				marked += fmt.Sprint(record)
			} else {
				others += fmt.Sprint(record)
			}
		}
		if !strings.Contains(marked, c.marked) || strings.Contains(others, c.marked) || strings.Contains(marked, "ran") {
			t.Errorf("%s: marked %s\nothers %s", c.name, marked, others)
		}
	}
}

// A record tells what was run, unless the policy hides command lines.
func TestRecordHasCommand(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	f.start(service.Config{Name: "hides", Settings: service.Settings{Policy: &policy.Policy{HideCommandLines: true}}})
	c := f.two()
	long := strings.Repeat("é", 300)
	for i, row := range []struct{ task, want string }{
		{`{"argv":["echo","a b","","c"]}`, `echo "a b" "" c`},
		{`{"commands":["echo","$HOME;","true"]}`, "echo $HOME; true"},
		{`{"argv":["echo","` + long + `"]}`, "echo " + long[:2*(256-5)]},
		{fileTask([]byte("#!/bin/bash\ntrue"), false), "bash script"},
		{codeTask("bash", "true", `,"argv":["x"],"isolation":"none"`), "bash program x"},
	} {
		for _, at := range []string{"web1", "hides"} {
			id, want := fmt.Sprint(at, i), row.want
			if at == "hides" {
				want = ""
			}
			c[0].start("at."+at, id, row.task)
			run := c[1].final(id)
			if got, _ := run["command"].(string); got != want {
				t.Errorf("%s: got %q, want %q", id, got, want)
			}
		}
	}
}
