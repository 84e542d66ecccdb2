package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// BenchmarkJobs is what a page polls: all that there is of 1,000 jobs of five
// tasks, and that nothing has changed. The limits are 10 ms and 1 ms.
func BenchmarkJobs(b *testing.B) {
	const count = 1000
	f := fleet.New(b)
	nc := f.Conn()
	space, err := subjects.New("")
	if err != nil {
		b.Fatal(err)
	}
	_, jobs, err := records.OpenBuckets(rig.Within(b, time.Minute), rig.JetStream(b, nc), space, kv.Config{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range count {
		at := timestamppb.New(time.Now().Add(time.Duration(i-count) * time.Second))
		job := &pb.Job{Id: uuid.NewString(), Pipeline: "release", Completed: true, Created: at, Start: at, End: at, User: "me", VariablesJson: `{"tag":"v1"}`}
		for n := range 5 {
			job.Tasks = append(job.Tasks, &pb.JobTask{Name: fmt.Sprint("task", n), Status: "done", Start: at, End: at, Number: int32(n + 1)})
		}
		body, err := pb.MarshalJSON(job)
		if err == nil {
			err = jobs.Set(rig.Within(b, time.Minute), job.GetId(), body)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	g, err := gateway.New(rig.Within(b, time.Minute), nc, gateway.Config{Secret: secret})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(g.Close)
	get := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/pipelines/jobs", nil)
		r.Header.Set("Authorization", "Bearer "+token(b))
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		return w
	}
	rig.Eventually(b, "all jobs are listed", func() bool { return strings.Count(get("").Body.String(), `"id":`) == count })
	tag := get("").Header().Get("ETag")
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			if w := get(""); w.Code != http.StatusOK {
				b.Fatal(w.Code)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			if w := get(tag); w.Code != http.StatusNotModified {
				b.Fatal(w.Code)
			}
		}
	})
}
