package run

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// A task's terms are what it names, and the defaults of its kind for the rest.
func TestTermsOf(t *testing.T) {
	b := newBench(t, nil)
	program := &pb.Language{Name: "sh"}
	file := &pb.File{Content: []byte("exit 0")}
	for _, c := range []struct {
		name string
		task *pb.Task
		want terms
	}{
		{"nothing named", argv("true"), terms{grace: pb.DefaultGrace}},
		{"times", &pb.Task{Argv: []string{"true"}, Timeout: "90s", Grace: "0s", Expires: "1h30m"},
			terms{timeout: 90 * time.Second, expires: 90 * time.Minute}},
		{"a program has no grace", &pb.Task{Language: program, Isolation: "none", File: file}, terms{}},
		{"unless it names one", &pb.Task{Language: program, Isolation: "none", File: file, Grace: "2s"}, terms{grace: 2 * time.Second}},
		{"bounds", &pb.Task{Argv: []string{"true"}, Limits: &pb.Limits{WallTime: "3s", OutputBytes: structpb.NewStringValue("2k")}},
			terms{grace: pb.DefaultGrace, bounds: bounds{wallTime: 3 * time.Second, outputBytes: 2048}}},
	} {
		got, err := b.termsOf(c.task)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.timeout != c.want.timeout || got.grace != c.want.grace || got.expires != c.want.expires {
			t.Errorf("%s: times %s, %s, %s", c.name, got.timeout, got.grace, got.expires)
		}
		if got.bounds.wallTime != c.want.bounds.wallTime || got.bounds.outputBytes != c.want.bounds.outputBytes {
			t.Errorf("%s: bounds %s, %d", c.name, got.bounds.wallTime, got.bounds.outputBytes)
		}
		if (got.program != nil) != (c.task.GetLanguage() != nil) || got.isolation != sandbox.None {
			t.Errorf("%s: program %v, isolation %s", c.name, got.program, got.isolation)
		}
	}
}

// All that is wrong with a task is said at once, each with its field.
func TestTermsNameEveryFault(t *testing.T) {
	b := newBench(t, nil)
	task := &pb.Task{Argv: []string{"true"}, Timeout: "5", Grace: "-1s", Expires: "soon", Isolation: "some",
		Params: []*pb.Param{{Name: sandbox.MarkerName, Value: "x"}}}
	err := b.Check(task)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, field := range []string{"spec.task.timeout", "spec.task.grace", "spec.task.expires", "isolation", "spec.task.params"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// What this host can't do is no fault of the request, and is told apart from one.
func TestUnable(t *testing.T) {
	b := newBench(t, nil) // without cgroups
	var invalid *pb.InvalidError
	five := int64(5)
	task := &pb.Task{Argv: []string{"true"}, Limits: &pb.Limits{PidsMax: &five}}
	if err := b.Check(task); !errors.Is(err, ErrUnable) || errors.As(err, &invalid) {
		t.Errorf("a limit: got %v", err)
	}
	if b.Holds(limits.PidsMax) || !b.Holds(limits.Core) {
		t.Error("it can count processes without a controller, or can't set a resource limit")
	}
	unknown := &pb.Task{Language: &pb.Language{Name: "sh", Version: "99999"}, Isolation: "none", File: &pb.File{Content: []byte("true")}}
	if err := b.Check(unknown); !errors.Is(err, ErrUnable) || errors.As(err, &invalid) {
		t.Errorf("a version: got %v", err)
	}
	bad := &pb.Task{Argv: []string{"true"}, Timeout: "5"}
	if err := b.Check(bad); errors.Is(err, ErrUnable) || !errors.As(err, &invalid) {
		t.Errorf("a bad duration: got %v", err)
	}
}

// A process has what the task says; the trace comes before the task's own
// parameters, so that those count.
func TestSpec(t *testing.T) {
	task := &pb.Task{Dir: "/srv", Stdin: []byte("in"), User: "app", Network: true, Log: &pb.Log{Merge: true}}
	a := &active{r: &Runner{cfg: Config{Environ: []string{"A=1"}}}, id: "r1", task: task, trace: "00-ab",
		terms: terms{params: []string{"B=2"}, isolation: sandbox.Standard}, ended: make(chan struct{})}
	s := a.spec()
	if s.ID != "r1" || s.Dir != "/srv" || string(s.Stdin) != "in" || s.User != "app" || !s.Network || !s.Merge || s.Isolation != sandbox.Standard {
		t.Errorf("got %+v", s)
	}
	if want := []string{"TRACEPARENT=00-ab", "B=2"}; !slices.Equal(s.Params, want) {
		t.Errorf("parameters %q", s.Params)
	}
	a.trace = ""
	if s := a.spec(); !slices.Equal(s.Params, []string{"B=2"}) {
		t.Errorf("without a trace: %q", s.Params)
	}
}

// Shell text is never an option of the shell.
func TestShell(t *testing.T) {
	for text, want := range map[string][]string{
		"echo a":  {"bash", "-c", "echo a"},
		"-x":      {"bash", "-c", "--", "-x"},
		"+x; ls":  {"bash", "-c", "--", "+x; ls"},
		"":        {"bash", "-c", ""},
		" -x":     {"bash", "-c", " -x"},
		"a -- -b": {"bash", "-c", "a -- -b"},
	} {
		if got := shell(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

// What was prepared early is used once, or undone if the run does not begin.
func TestPreparedEarly(t *testing.T) {
	cleaned := 0
	early := func() *active {
		a := &active{early: make(chan start, 1)}
		a.early <- start{cleanUp: func() { cleaned++ }}
		return a
	}
	a := early()
	s := a.prepareOnce()
	a.discardEarly() // nothing is left to undo
	if cleaned != 0 {
		t.Error("what is in use was undone")
	}
	if s.cleanUp(); cleaned != 1 {
		t.Errorf("it was cleaned up %d times", cleaned)
	}
	a = early()
	a.discardEarly()
	a.discardEarly()
	if cleaned != 2 {
		t.Errorf("it was cleaned up %d times", cleaned-1)
	}
}

// A task's bounds count where both it and its language name one.
func TestBoundsUnder(t *testing.T) {
	parse := func(text limits.Text) bounds {
		set, err := text.Parse()
		if err != nil {
			t.Fatal(err)
		}
		return boundsIn(set)
	}
	language := parse(limits.Text{limits.WallTime: "10s", limits.OutputBytes: "100"})
	got := language.under(parse(limits.Text{limits.WallTime: "2s"}))
	if got.wallTime != 2*time.Second || got.outputBytes != 100 {
		t.Errorf("got %+v", got)
	}
	if same := language.under(bounds{}); same.wallTime != 10*time.Second || same.outputBytes != 100 {
		t.Errorf("a task without limits: got %+v", same)
	}
}

// Isolated runs get folders with wide rights inside a directory that nobody enters.
func TestFolderMode(t *testing.T) {
	for _, c := range []struct {
		level    sandbox.Isolation
		writable bool
		want     string
	}{
		{sandbox.None, true, "-rwx------"}, {sandbox.None, false, "-rwx------"},
		{sandbox.Standard, true, "-rwxrwxrwx"}, {sandbox.Strict, false, "-rwxr-xr-x"},
	} {
		a := &active{terms: terms{isolation: c.level}}
		if got := a.folderMode(c.writable).String(); got != c.want {
			t.Errorf("%s, writable %v: %s", c.level, c.writable, got)
		}
	}
}
