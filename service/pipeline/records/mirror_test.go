package records

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buckets are an engine's, without an engine.
type buckets struct {
	t          *testing.T
	defs, jobs *kv.Bucket
}

func (b *buckets) define(name, text string, change func(*Definition)) {
	b.t.Helper()
	all, err := definition.Parse("p.yml", []byte("pipelines: {"+name+": {"+text+"}}"))
	if err != nil {
		b.t.Fatal(err)
	}
	d := &Definition{Name: name, Source: "h:p.yml", Pipeline: all[name], Env: map[string]string{"SECRET": "hush"}}
	if change != nil {
		change(d)
	}
	b.set(b.defs, DefKey(name), d)
}

func (b *buckets) set(bucket *kv.Bucket, key string, value any) {
	b.t.Helper()
	body, err := json.Marshal(value)
	if err == nil {
		err = bucket.Set(b.t.Context(), key, body)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *buckets) job(n int, completed bool) *pb.Job {
	b.t.Helper()
	job := &pb.Job{Id: fmt.Sprintf("job-%02d", n), Pipeline: fmt.Sprint("p", n%2), Created: timestamppb.New(noon.Add(time.Duration(n) * time.Second)), Completed: completed}
	if completed {
		job.End = timestamppb.New(noon.Add(time.Hour))
	}
	body, err := pb.MarshalJSON(job)
	if err == nil {
		err = b.jobs.Set(b.t.Context(), job.GetId(), body)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return job
}

func newMirror(t *testing.T) (*Mirror, *buckets) {
	t.Helper()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	b := &buckets{t: t}
	if b.defs, b.jobs, err = OpenBuckets(t.Context(), js, space, kv.Config{}); err != nil {
		t.Fatal(err)
	}
	b.define("p0", "concurrency: 2, env: {SHOWN: plain}, tasks: {a: {script: ['echo {{ .x }}']}}", nil)
	for n := range 6 {
		b.job(n, n < 4)
	}
	m, err := NewMirror(t.Context(), js, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	select {
	case <-m.Ready():
	case <-time.After(time.Minute):
		t.Fatal("the mirror is not ready")
	}
	return m, b
}

// What was stored before is there when it is ready, and what comes later soon.
func TestMirrorOfPipelines(t *testing.T) {
	m, b := newMirror(t)
	p := m.Pipeline("p0")
	if p == nil || p.GetSource() != "h:p.yml" || !p.GetSchedulable() || strings.Contains(p.GetDefinition(), "hush") ||
		!strings.Contains(p.GetDefinition(), `"SECRET":"***"`) || !strings.Contains(p.GetDefinition(), `"SHOWN":"plain"`) || fmt.Sprint(p.GetVariables()) != "[x]" {
		t.Errorf("the pipeline: %v", p)
	}
	if m.Pipeline("nosuch") != nil {
		t.Error("a pipeline that there is none of")
	}
	before := m.Revision()
	changed := m.Changed()
	b.set(b.defs, HeadKey("p0"), waitlist.Head{Pipeline: "p0", Running: []string{"job-04"}, Waiting: []waitlist.Waiting{{Job: "job-05"}}})
	<-changed
	rig.Eventually(t, "the queue is seen", func() bool {
		p := m.Pipeline("p0")
		return p.GetRunningJobs() == 1 && p.GetWaitingJobs() == 1 && p.GetRunning()
	})
	if m.Revision() == before {
		t.Error("the revision is the old one")
	}
	// A removed one is listed for as long as it has jobs.
	b.define("p0", "concurrency: 2", func(d *Definition) { d.Removed = true })
	b.define("p1", "", nil)
	rig.Eventually(t, "both are listed", func() bool {
		all := m.Pipelines()
		return len(all) == 2 && all[0].GetRemoved() && !all[0].GetSchedulable() && all[1].GetName() == "p1"
	})
	b.set(b.defs, HeadKey("p0"), waitlist.Head{Pipeline: "p0"})
	rig.Eventually(t, "one is left", func() bool { return len(m.Pipelines()) == 1 })
}

func idsOf(all []JobAt) string {
	var ids []string
	for _, j := range all {
		ids = append(ids, strings.TrimPrefix(j.Job.GetId(), "job-0"))
	}
	return strings.Join(ids, " ")
}

func TestMirrorOfJobs(t *testing.T) {
	m, b := newMirror(t)
	ctx := rig.Within(t, rig.Patience)
	jobs := func(others int) string {
		t.Helper()
		all, err := m.Jobs(ctx, others)
		if err != nil {
			t.Fatal(err)
		}
		return idsOf(all)
	}
	for others, want := range map[int]string{0: "5 4", 1: "5 4 3", 3: "5 4 3 2 1", 9: "5 4 3 2 1 0"} {
		if got := jobs(others); got != want {
			t.Errorf("with %d others: %s, want %s", others, got, want)
		}
	}
	var pages []string
	for next, first := "", true; first || next != ""; first = false {
		page, after, err := m.Page(ctx, "p1", next, 2)
		if err != nil {
			t.Fatal(err)
		}
		pages, next = append(pages, idsOf(page)), after
	}
	if got := strings.Join(pages, " | "); got != "5 3 | 1" {
		t.Errorf("pages %s", got)
	}
	if _, _, err := m.Page(ctx, "", "?", 2); err == nil {
		t.Error("a broken cursor was taken")
	}
	all, err := m.Jobs(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.job(5, true)
	rig.Eventually(t, "the end is seen", func() bool { return jobs(0) == "4" })
	if now, err := m.Jobs(ctx, 1); err != nil || now[0].Job.GetId() != "job-05" || now[0].Rev <= all[0].Rev {
		t.Errorf("the revision of what has changed: %v, was %v, %v", now, all, err)
	}
	b.job(7, false)
	m.WaitFor(ctx, "job-07")
	if got := jobs(0); got != "7 4" {
		t.Errorf("after it was waited for: %s", got)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	m.WaitFor(short, "job-99") // and not for ever
	if err := b.jobs.KV().Purge(ctx, "job-07"); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the removal is seen", func() bool { return jobs(0) == "4" })
}

// Keys and bodies that nobody can read are passed over or named.
func TestKeysAndBodies(t *testing.T) {
	for _, name := range []string{"a", "a b.c>*", strings.Repeat("x", 128)} {
		for kind, key := range map[string]string{"def": DefKey(name), "head": HeadKey(name)} {
			if KindOfKey(key) != kind || strings.Count(key, ".") != 1 || strings.ContainsAny(key, " >*") {
				t.Errorf("%s of %q: %s", kind, name, key)
			}
		}
	}
	if DefKey("a") == DefKey("b") || KindOfKey(InputKey("j")) != "input" || KindOfKey("lease") != "lease" {
		t.Error("keys are mixed up")
	}
	if _, err := ReadDefinition(kv.Entry{Body: []byte("{")}); err == nil || !strings.Contains(err.Error(), "cannot read a definition") {
		t.Errorf("a broken definition: %v", err)
	}
	if _, err := ReadHead([]byte("[]")); err == nil || !strings.Contains(err.Error(), "cannot read the queue") {
		t.Errorf("a broken head: %v", err)
	}
	for _, text := range []string{"x", "eA", "IA"} {
		if _, err := ReadCursor(text); err == nil {
			t.Errorf("cursor %q was taken", text)
		}
	}
	r := row{id: "job-1", created: 5}
	if got, err := ReadCursor(CursorOf(r)); err != nil || got != r {
		t.Errorf("a cursor comes back as %+v, %v", got, err)
	}
}
