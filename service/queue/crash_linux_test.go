package queue_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// hang is a shell's text that ends with the test's directory at the latest, also
// where nobody is left to end it, or once a file is there.
func hang(file string) string {
	return "while [ -d " + filepath.Dir(file) + " ] && [ ! -e " + file + " ]; do sleep .1; done"
}

// A runner that is killed loses its attempts: another one follows where the task
// has one, else the work is FAILED. Each attempt starts once.
func TestKilledRunner(t *testing.T) {
	t.Parallel()
	w := newSite(t)
	dir := t.TempDir()
	long := func(id string) string {
		return "echo >>" + filepath.Join(dir, id) + "; [ -e " + dir + "/go ] || " + hang(dir+"/go")
	}
	gone := w.process(child{Name: "gone", Slots: 2})
	w.put("again", long("again"), with(t, `{"retries":1}`))
	w.put("once", long("once"))
	for _, id := range []string{"again", "once"} {
		rig.Eventually(t, id+" has begun", func() bool { begun, _ := os.ReadFile(filepath.Join(dir, id)); return len(begun) > 0 })
		w.running(id)
	}
	gone.Kill()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(service.Config{Name: "other"})
	want(t, w.final("again"), `FAILED lost 0 attempt 1 next "again-a2"`)
	want(t, w.final("again-a2"), `COMPLETE exit 0 attempt 2 next ""`)
	want(t, w.final("once"), `FAILED lost 0 attempt 1 next ""`)
	w.emptied()
	for id, n := range map[string]int{"again": 2, "once": 1} {
		if got, err := os.ReadFile(filepath.Join(dir, id)); err != nil || len(got) != n {
			t.Errorf("%s was started %d times, %v; want %d", id, len(got), err, n)
		}
	}
	w.none("once-a2")
	w.none("again-a3")
}

// A runner that comes back with its data ends what it left, and the work goes on
// there, since nobody else is there.
func TestRunnerStartsAgain(t *testing.T) {
	t.Parallel()
	w := newSite(t)
	data, mark := t.TempDir(), filepath.Join(t.TempDir(), "mark")
	first := w.process(child{Name: "web1", Data: data})
	w.put("back", "[ -e "+mark+" ] && exit 0; touch "+mark+"; "+hang(mark+".go"), with(t, `{"retries":3}`))
	rig.Eventually(t, "it has begun", func() bool { _, err := os.Stat(mark); return err == nil })
	first.Kill()
	w.process(child{Name: "web1", Data: data})
	want(t, w.final("back"), `FAILED lost 0 attempt 1 next "back-a2"`)
	want(t, w.final("back-a2"), `COMPLETE exit 0 attempt 2 next ""`)
	w.emptied()
}

// A frozen runner's message is delivered to others; they leave its attempt alone
// until it is lost, and it can't go on once it is.
func TestFrozenRunner(t *testing.T) {
	t.Parallel()
	w := newSite(t)
	dir := t.TempDir()
	frozen := w.process(child{Name: "frozen", Slots: 1})
	w.put("frost", "echo >>"+dir+"/starts; [ $(wc -l <"+dir+"/starts) -gt 1 ] || "+hang(dir+"/go"), with(t, `{"retries":1}`))
	w.running("frost")
	rig.Eventually(t, "it has begun", func() bool { _, err := os.Stat(dir + "/starts"); return err == nil })
	if err := frozen.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.start(service.Config{Name: "other"})
	want(t, w.final("frost"), `FAILED lost 0 attempt 1 next "frost-a2"`)
	want(t, w.final("frost-a2"), `COMPLETE exit 0 attempt 2 next ""`)
	if err := frozen.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.emptied()
	want(t, w.final("frost"), `FAILED lost 0 attempt 1 next "frost-a2"`)
	if got, _ := os.ReadFile(dir + "/starts"); len(got) != 2 {
		t.Errorf("it was started %d times, want 2", len(got))
	}
}

// Work that outlasts the time for an acknowledgement stays where it is, though
// others are idle.
func TestLongWorkIsStartedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"}, service.Config{Name: "web2"})
	starts := filepath.Join(t.TempDir(), "starts")
	for i := range 4 {
		w.put(fmt.Sprint("long", i), "echo >>"+starts+"; sleep 5")
	}
	for i := range 4 {
		want(t, w.final(fmt.Sprint("long", i)), `COMPLETE exit 0 attempt 1 next ""`)
	}
	w.emptied()
	if got, _ := os.ReadFile(starts); len(got) != 4 {
		t.Errorf("4 tasks were started %d times", len(got))
	}
}

// Messages come a second time, to two runners, after somebody has taken all of them
// and died. Each is started once.
func TestTwoTakers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	starts := filepath.Join(t.TempDir(), "starts")
	const n = 40
	for i := range n {
		w.put(fmt.Sprint("two", i), "echo >>"+starts+"; sleep .3")
	}
	// A third taker that takes everything and says nothing.
	w.hog(n)
	began := time.Now()
	w.start(service.Config{Name: "web1"})
	w.start(service.Config{Name: "web2"})
	for i := range n {
		want(t, w.final(fmt.Sprint("two", i)), `COMPLETE exit 0 attempt 1 next ""`)
	}
	w.emptied()
	if got, _ := os.ReadFile(starts); len(got) != n {
		t.Errorf("%d tasks were started %d times", n, len(got))
	}
	t.Logf("took %s", time.Since(began))
}
