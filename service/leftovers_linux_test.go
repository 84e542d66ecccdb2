package service_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

var manyRuns = flag.Int("runs", 300, "runs of TestNothingIsLeft")

// leftovers is everything of which runs could leave some.
type leftovers struct {
	Descriptors, Goroutines, Mounts, Children int
	Places, Leaves                            []string
	memory                                    int64
}

func (f *fleet) leftovers() (l leftovers) {
	f.t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		f.t.Fatal(err)
	}
	l.Descriptors, l.Goroutines = len(entries), runtime.NumGoroutine()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, task := range tasks { // zombies are among them
		text, _ := os.ReadFile(task) // a thread may end meanwhile
		l.Children += len(strings.Fields(string(text)))
	}
	instance := strings.TrimSpace(f.read(filepath.Join(f.dataDir, "instance")))
	l.Mounts = strings.Count(f.read("/proc/self/mountinfo"), instance) // those of other tests come and go
	for _, base := range []string{os.TempDir(), "/tmp"} {
		found, err := filepath.Glob(filepath.Join(base, "runnel-"+instance+"-*"))
		if err != nil {
			f.t.Fatal(err)
		}
		l.Places = append(l.Places, found...)
	}
	spools, err := filepath.Glob(filepath.Join(f.dataDir, "spool", "*"))
	if err != nil {
		f.t.Fatal(err)
	}
	l.Places = append(l.Places, spools...)
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, _ os.DirEntry, err error) error {
		leaf, ours := strings.CutPrefix(filepath.Base(path), "runnel-"+instance+"-")
		if err == nil && ours && !strings.HasPrefix(leaf, "@") { // that one says whose they are, as long as the runner lives
			l.Leaves = append(l.Leaves, path)
		}
		return nil // what can't be read is nothing of ours
	})
	debug.FreeOSMemory() // what is garbage already is nobody's
	for line := range strings.Lines(f.read("/proc/self/status")) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			l.memory, _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return l
}

func (f *fleet) read(path string) string {
	f.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// Runs of every kind in a row leave nothing, whatever they try.
func TestNothingIsLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of runs")
	}
	f := newFleet(t)
	f.curious = true
	// A test's log stays in memory: that of ten thousand runs would be what grows.
	f.start(service.Config{Logger: slog.New(slog.NewTextHandler(rig.Writer(t), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	tasks := []string{
		`{"argv":["true"]}`,
		fileTask([]byte("#!/bin/bash\nsleep 1000 & setsid sleep 1000 & echo x"), false),
		`{"commands":["exit 3"],"limits":{"openFiles":30}}`,
		`{"argv":["/no/such/program"]}`,
	}
	for _, level := range f.card("web1")["isolation"].([]any)[1:] {
		is := fmt.Sprintf(`,"isolation":%q`, level)
		tasks = append(tasks,
			`{"commands":["mkdir -p /tmp/a/b; chmod 0 /tmp/a; sleep 1000 & setsid sleep 1000 & true"]`+is+`}`,
			strings.Replace(fileTask([]byte("#!/bin/bash\ntrue"), false), "{", fmt.Sprintf(`{"isolation":%q,`, level), 1),
			`{"argv":["/no/such/program"]`+is+`}`,
			codeTask("bash", "mkdir -p a/b; touch a/b/c; chmod 0 a/b; sleep 1000 &", is),
			codeTask("c", "int main(){ return 0; }", is),
			codeTask("c", "int main(", is),
		)
	}
	first := len(tasks) * 3
	var before, half leftovers
	for i := range max(*manyRuns, first+1) {
		if i == first { // all that is made once is there
			before = f.leftovers()
		}
		if i == *manyRuns/2 {
			half = f.leftovers()
		}
		f.record(f.run(tasks[i%len(tasks)]).id)
	}
	var after leftovers
	same := func() bool {
		after = f.leftovers()
		return after.Descriptors <= before.Descriptors && after.Goroutines <= before.Goroutines && after.Mounts == before.Mounts &&
			after.Children <= before.Children && len(after.Places)+len(after.Leaves) == 0
	}
	rig.Eventually(f.t, fmt.Sprintf("as before: %+v", before), same)
	t.Logf("before %+v\nafter %+v", before, after)
	if grown := after.memory - half.memory; *manyRuns >= 10_000 && grown > 16<<10 {
		t.Errorf("memory grew by %d KiB in the second half", grown)
	}
}
