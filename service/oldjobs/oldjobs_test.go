package oldjobs_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/oldjobs"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	os.Exit(m.Run())
}

// fleet with a runner, and an old data directory.
type old struct {
	t     *testing.T
	fleet *fleet.Fleet
	cfg   oldjobs.Config
}

func open(t *testing.T) *old {
	t.Helper()
	f := fleet.New(t)
	const years = 50 * 365 * 24 * time.Hour
	r, err := service.Start(rig.Within(t, time.Minute), f.Conn(), service.Config{
		Name: "r1", DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Retention: years, LogMaxAge: years,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &old{t, f, oldjobs.Config{Dir: dir, Mark: filepath.Join(dir, "mark"), JS: js, Space: space, Runner: "r1", Logger: rig.Logger(t)}}
}

func (o *old) write(name, text string) {
	o.t.Helper()
	path := filepath.Join(o.cfg.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *old) take() error { return oldjobs.Take(rig.Within(o.t, time.Minute), o.cfg) }

// jobs are those that an engine then knows, by id.
func (o *old) jobs() map[string]*pb.Job {
	o.t.Helper()
	e, err := pipeline.Start(rig.Within(o.t, time.Minute), o.fleet.Conn(), pipeline.Config{Name: "e1"})
	if err != nil {
		o.t.Fatal(err)
	}
	defer e.Close()
	all := map[string]*pb.Job{}
	for job, err := range o.fleet.Client().Jobs(rig.Within(o.t, time.Minute), client.JobsOptions{}) {
		if err != nil {
			o.t.Fatal(err)
		}
		all[job.GetId()] = job
	}
	return all
}

func (o *old) output(run string) (out, errs string) {
	o.t.Helper()
	ctx := rig.Within(o.t, time.Minute)
	record, err := o.fleet.Client().Status(ctx, run)
	if err != nil {
		o.t.Fatal(err)
	}
	_, err = o.fleet.Client().Follow(ctx, record, client.FollowOptions{}, func(r lines.Record) error {
		text := string(r.Text)
		if !r.Open && r.End == nil {
			text += "\n"
		}
		if r.Stream == lines.Stderr {
			errs += text
		} else if r.End == nil {
			out += text
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return out, errs
}

const id = "6f1c1b9e-52d0-4a5e-9c3e-0a1b2c3d4e5f"

// id2 is another job's.
func id2(n int) string { return fmt.Sprintf("6f1c1b9e-52d0-4a5e-9c3e-%012d", n) }

const times = `"Created":"2021-01-02T03:04:05.6789+01:00","Start":"2021-01-02T03:04:06+01:00","End":"2021-01-02T03:04:09+01:00"`

func TestStatuses(t *testing.T) {
	o := open(t)
	task := func(name, rest string) string { return `{"Name":"` + name + `","Script":["x"],` + rest + `}` }
	const ran = `"Start":"2021-01-02T03:04:06+01:00","End":"2021-01-02T03:04:09+01:00"`
	o.write("data.json", `{"Version":1,"Jobs":[
		{"ID":"`+id+`","Pipeline":"p","Completed":true,`+times+`,"Variables":{"n":12345678901234567890},"User":"u","Tasks":[`+
		task("a", `"Status":"done",`+ran)+`,`+task("b", `"DependsOn":["a","gone"],"Status":"error","Errored":true,"Error":"exit status 3","ExitCode":3,`+ran)+`,`+
		task("c", `"DependsOn":["b"],"Status":"skipped","Skipped":true`)+`,`+task("d", `"Status":"canceled"`)+`]},
		{"ID":"`+id2(1)+`","Pipeline":"p","Created":"2021-01-02T03:04:05Z","Start":"2021-01-02T03:04:05Z","Tasks":[`+task("a", `"Status":"running","Start":"2021-01-02T03:04:06Z"`)+`]},
		{"ID":"`+id2(2)+`","Pipeline":"p","Created":"2021-01-02T03:04:05Z","Tasks":[`+task("a", `"Status":"waiting"`)+`]},
		{"ID":"`+id2(3)+`","Pipeline":"p","Canceled":true,`+times+`,"Tasks":null},
		{"ID":"nonsense","Pipeline":"p","Completed":true,"Tasks":[]}
	]}`)
	o.write("logs/"+id+"/a-stdout.log", "one\ntwo")
	o.write("logs/"+id+"/a-stderr.log", "err\n")
	if err := o.take(); err != nil {
		t.Fatal(err)
	}
	jobs := o.jobs()
	if len(jobs) != 4 {
		t.Fatalf("%d jobs: %v", len(jobs), jobs)
	}
	j := jobs[id]
	if !j.GetCompleted() || j.GetCanceled() || !j.GetErrored() || j.GetLastError() != "exit status 3" || j.GetUser() != "u" ||
		j.GetVariablesJson() != `{"n":12345678901234567890}` || j.GetStart().AsTime().Format(time.RFC3339) != "2021-01-02T02:04:06Z" {
		t.Errorf("%v", j)
	}
	var statuses []string
	for _, task := range j.GetTasks() {
		statuses = append(statuses, task.GetStatus())
	}
	if got := strings.Join(statuses, " "); got != "done error skipped canceled" || j.GetTasks()[1].GetExitCode() != 3 || len(j.GetTasks()[1].GetDependsOn()) != 1 {
		t.Errorf("%s: %v", got, j)
	}
	for n := 1; n <= 3; n++ { // it ran, it waited, it was canceled
		if j := jobs[id2(n)]; !j.GetCompleted() || !j.GetCanceled() || j.GetErrored() || len(j.GetTasks()) > 0 && j.GetTasks()[0].GetStatus() != "canceled" {
			t.Errorf("%v", j)
		}
	}
	if out, errs := o.output(id + "-1"); out != "one\ntwo" || errs != "err\n" {
		t.Errorf("output: %q %q", out, errs)
	}
	if out, errs := o.output(id + "-2"); out != "" || errs != "" {
		t.Errorf("output without files: %q %q", out, errs)
	}
	run, err := o.fleet.Client().Status(rig.Within(t, time.Minute), id+"-1")
	if err != nil || run.GetState() != pb.State_COMPLETE || !run.GetLogComplete() || run.GetLines() != 3 {
		t.Errorf("%v %v", run, err)
	}
}

// It is done once: what was removed afterwards does not come back.
func TestOnce(t *testing.T) {
	o := open(t)
	o.write("data.json", `{"Jobs":[{"ID":"`+id+`","Pipeline":"p","Completed":true,`+times+`,"Tasks":[]}]}`)
	if err := o.take(); err != nil {
		t.Fatal(err)
	}
	o.write("data.json", `{"Jobs":[{"ID":"`+id2(1)+`","Pipeline":"p","Completed":true,`+times+`,"Tasks":[]}]}`)
	if err := o.take(); err != nil {
		t.Fatal(err)
	}
	if jobs := o.jobs(); len(jobs) != 1 || jobs[id] == nil {
		t.Errorf("%v", jobs)
	}
}

// A file that breaks off says so and counts as not read; what was read of it is
// not doubled by the next try.
func TestTornFile(t *testing.T) {
	o := open(t)
	var all []json.RawMessage
	for n := range 50 {
		all = append(all, json.RawMessage(`{"ID":"`+id2(n)+`","Pipeline":"p","Completed":true,`+times+`,"Tasks":[{"Name":"a","Status":"done",`+
			`"Start":"2021-01-02T03:04:06Z","End":"2021-01-02T03:04:06Z"}]}`))
		o.write(fmt.Sprintf("logs/%s/a-stdout.log", id2(n)), fmt.Sprintf("job %d\n", n))
	}
	text, _ := json.Marshal(map[string]any{"Jobs": all})
	o.write("data.json", string(text[:len(text)/2]))
	if err := o.take(); err == nil || !strings.Contains(err.Error(), "data.json: unexpected EOF") {
		t.Fatalf("a torn file: %v", err)
	}
	o.write("data.json", string(text))
	for range 2 {
		if err := o.take(); err != nil {
			t.Fatal(err)
		}
	}
	if jobs := o.jobs(); len(jobs) != 50 {
		t.Errorf("%d jobs", len(jobs))
	}
	for n := range 50 {
		if out, _ := o.output(id2(n) + "-1"); out != fmt.Sprintf("job %d\n", n) {
			t.Errorf("job %d: %q", n, out)
		}
	}
}

func TestNothingOld(t *testing.T) {
	o := open(t)
	if err := o.take(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`[]`, `{"Jobs":7}`, `{"Jobs":{}}`, `x`, ``, `{"Jobs":["x"]}`} {
		if err := os.Remove(o.cfg.Mark); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		o.write("data.json", text)
		if err := o.take(); err == nil || !strings.Contains(err.Error(), "cannot read the old data directory") {
			t.Errorf("%q: %v", text, err)
		}
	}
	o.write("data.json", `{"Jobs":null,"More":{"x":[1]}}`)
	if err := o.take(); err != nil {
		t.Error(err)
	}
}
