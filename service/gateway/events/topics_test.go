package events

import (
	"strings"
	"testing"
)

func TestTopics(t *testing.T) {
	all, err := readTopics("fleet, runs,jobs,queue,schedules,job:11111111-1111-1111-1111-111111111111,log:01ABC@-50,log:01ABD@7,log:01ABE")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, one := range all {
		names = append(names, one.name())
	}
	if got := strings.Join(names, " "); got != "fleet runs jobs queue schedules job:11111111-1111-1111-1111-111111111111 log:01ABC log:01ABD log:01ABE" {
		t.Errorf("%s", got)
	}
	if all[6].from != -50 || all[7].from != 7 || all[8].from != 0 {
		t.Errorf("lines: %d, %d, %d", all[6].from, all[7].from, all[8].from)
	}
	for _, text := range []string{"", ",", "moon", "fleet:x", "queue:x", "schedules:a", "schedule:a", "queue,queue", "log:", "log", "log:a b", "log:x@0", "log:x@", "log:x@y", "job:*", "fleet,fleet", "log:x,log:x@5", "log:a.b"} {
		if _, err := readTopics(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	many := make([]string, maxTopics+1)
	for i := range many {
		many[i] = "log:x" + strings.Repeat("y", i%100) + strings.Repeat("z", i/100)
	}
	if _, err := readTopics(strings.Join(many, ",")); err == nil {
		t.Errorf("%d topics are taken", len(many))
	}
	if _, err := readTopics(strings.Join(many[1:], ",")); err != nil {
		t.Error(err)
	}
}

// What an id says, a stream of the same topics reads back, whichever of them it has.
func TestPositions(t *testing.T) {
	read := func(text string) []*topic {
		t.Helper()
		all, err := readTopics(text)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := read("fleet,runs,log:a,log:b")
	if got := idOf(all); got != "" {
		t.Errorf("at the beginning: %q", got)
	}
	all[0].at, all[2].at, all[3].at = "17", "3.4", ended
	id := idOf(all)
	if id != "fleet=17,log:a=3.4,log:b=end" {
		t.Errorf("%s", id)
	}
	again := read("log:b,jobs,fleet")
	if resume(again, id) || again[0].at != ended || again[1].at != "" || again[2].at != "17" {
		t.Errorf("%s: %s, %s, %s", id, again[0].at, again[1].at, again[2].at)
	}
	for _, last := range []string{"fleet=x", "fleet=-1", "log:a=1", "log:a=0.1", "log:a=", "fleet="} {
		one := read("fleet,log:a")
		if resume(one, last) || one[0].at != "" || one[1].at != "" {
			t.Errorf("%s: %q, %q", last, one[0].at, one[1].at)
		}
	}
	if !resume(read("fleet"), "nonsense") || resume(read("fleet"), "") {
		t.Error("which ids are lost")
	}
	if allEnded(all) || !allEnded(all[3:]) {
		t.Error("which have ended")
	}
}
