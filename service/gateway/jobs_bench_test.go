package gateway_test

import (
	"fmt"
	"io"
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

// listed is a gateway over 1,000 jobs of five tasks, which a page polls.
type listed struct {
	url, header, tag string
}

func manyJobs(t testing.TB) *listed {
	t.Helper()
	const count = 1000
	f := fleet.New(t)
	nc := f.Conn()
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	_, jobs, err := records.OpenBuckets(rig.Within(t, time.Minute), rig.JetStream(t, nc), space, kv.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		at := timestamppb.New(time.Now().Add(time.Duration(i-count) * time.Second))
		job := &pb.Job{Id: uuid.NewString(), Pipeline: "release", Completed: true, Created: at, Start: at, End: at, User: "me", VariablesJson: `{"tag":"v1"}`}
		for n := range 5 {
			job.Tasks = append(job.Tasks, &pb.JobTask{Name: fmt.Sprint("task", n), Status: "done", Start: at, End: at, Number: int32(n + 1)})
		}
		body, err := pb.MarshalJSON(job)
		if err == nil {
			err = jobs.Set(rig.Within(t, time.Minute), job.GetId(), body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := gateway.New(rig.Within(t, time.Minute), nc, gateway.Config{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	server := httptest.NewServer(g.Handler())
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	l := &listed{url: server.URL + "/pipelines/jobs", header: "Bearer " + token(t)}
	rig.Eventually(t, "all jobs are listed", func() bool {
		res, text := l.poll(t)
		l.tag = res.Header.Get("ETag")
		return strings.Count(text, `"id":`) == count
	})
	return l
}

func (l *listed) poll(t testing.TB, headers ...string) (*http.Response, string) {
	req, _ := http.NewRequestWithContext(t.Context(), "GET", l.url, nil)
	req.Header.Set("Authorization", l.header)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func (l *listed) whole(b *testing.B) {
	for b.Loop() {
		if res, _ := l.poll(b); res.StatusCode != http.StatusOK {
			b.Fatal(res.Status)
		}
	}
}

func (l *listed) unchanged(b *testing.B) {
	for b.Loop() {
		if res, _ := l.poll(b, "If-None-Match: "+l.tag); res.StatusCode != http.StatusNotModified {
			b.Fatal(res.Status)
		}
	}
}

// BenchmarkJobs is what a page polls: all that there is of 1,000 jobs of five
// tasks, and that nothing has changed. The limits are 10 ms and 1 ms.
func BenchmarkJobs(b *testing.B) {
	l := manyJobs(b)
	b.Run("whole", l.whole)
	b.Run("unchanged", l.unchanged)
}
