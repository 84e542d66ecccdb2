package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// store writes jobs' records, the oldest first, and gives their ids.
func (w *world) store(jobs ...*pb.Job) (ids []string) {
	w.t.Helper()
	space, err := subjects.New("")
	if err != nil {
		w.t.Fatal(err)
	}
	_, bucket, err := records.OpenBuckets(rig.Within(w.t, time.Minute), rig.JetStream(w.t, w.fleet.Conn()), space, kv.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, job := range jobs {
		job.Id, job.Created = uuid.NewString(), timestamppb.New(time.Now().Add(time.Duration(i-len(jobs))*time.Second))
		if job.GetCompleted() {
			job.Start, job.End = job.GetCreated(), job.GetCreated()
		}
		body, err := pb.MarshalJSON(job)
		if err == nil {
			err = bucket.Set(rig.Within(w.t, time.Minute), job.GetId(), body)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, job.GetId())
	}
	return ids
}

type listedJobs struct {
	Pipelines []struct{}
	Jobs      []job
	Next      string
}

func (l listedJobs) ids() (all []string) {
	for _, j := range l.Jobs {
		all = append(all, j.ID)
	}
	return all
}

// Without a limit a list has all that go on and the newest thousand others; its
// pages have all, once, whoever asks for them.
func TestListOfManyJobs(t *testing.T) {
	w := bare(t)
	var jobs []*pb.Job
	for i := range 1010 {
		jobs = append(jobs, &pb.Job{Pipeline: fmt.Sprint("p", i%2), Completed: i != 1 && i != 3 && i != 500, VariablesJson: "{}"})
	}
	newest := w.store(jobs...)
	slices.Reverse(newest)
	w.url = w.gateway()
	var list listedJobs
	rig.Eventually(t, "all jobs are there", func() bool {
		w.get("/pipelines/jobs", &list)
		return len(list.Jobs) == 1003
	})
	// Of the 1,007 that have ended the oldest seven are left out; what goes on is not.
	want := append(slices.Clone(newest[:1001]), newest[1009-3], newest[1009-1])
	if got := list.ids(); !slices.Equal(got, want) {
		t.Errorf("the list has %d", len(got))
	}
	for pipeline, count := range map[string]int{"": 1010, "p0": 505, "p1": 505, "nosuch": 0} {
		var all []string
		for next := ""; ; next = list.Next {
			list = listedJobs{}
			w.get("/pipelines/jobs?limit=400&pipeline="+pipeline+"&next="+next, &list)
			if len(list.Jobs) > 400 || list.Jobs == nil || list.Pipelines == nil {
				t.Errorf("a page of %d", len(list.Jobs))
			}
			all = append(all, list.ids()...)
			if list.Next == "" {
				break
			}
		}
		if slices.Sort(all); len(slices.Compact(all)) != count {
			t.Errorf("pipeline %q: %d jobs on its pages, want %d", pipeline, len(all), count)
		}
	}
	res, text := w.do("GET", "/pipelines/jobs?limit=400", "", bearer(t))
	if again, body := w.do("GET", "/pipelines/jobs?limit=400", "", bearer(t), "If-None-Match: "+res.Header.Get("ETag")); again.StatusCode != 304 || body != "" {
		t.Errorf("the page again: %d", again.StatusCode)
	}
	if other, _ := w.do("GET", "/pipelines/jobs?limit=399", "", bearer(t), "If-None-Match: "+res.Header.Get("ETag")); other.StatusCode != 200 {
		t.Errorf("another page: %d", other.StatusCode)
	}
	if !strings.Contains(text, `"next":"`) || strings.Contains(text, `"variables"`) {
		t.Errorf("%.300s", text)
	}
}
