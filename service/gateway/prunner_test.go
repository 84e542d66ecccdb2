package gateway_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

func TestPrunner(t *testing.T) {
	w := open(t)
	var list struct {
		Pipelines []struct {
			Pipeline             string
			Schedulable, Running bool
		}
		Jobs []job
	}
	w.get("/pipelines", &list)
	w.get("/pipelines/", &list)
	if fmt.Sprint(list.Pipelines) != "[{fails true false} {release true false} {slow true false}]" {
		t.Errorf("pipelines: %v", list.Pipelines)
	}
	w.get("/pipelines/jobs", &list)
	if list.Jobs == nil || len(list.Jobs) != 0 {
		t.Errorf("jobs is %v, want []", list.Jobs)
	}

	id := w.schedule(`{"pipeline":"release","variables":{"tag":"v1","list":{"0":"a","1":"b"}}}`)
	j := w.ended(id)
	if j.Pipeline != "release" || j.User != "me" || j.Errored || j.Canceled || len(j.Tasks) != 2 || j.Tasks[1].DependsOn[0] != "lint" {
		t.Errorf("job: %+v", j)
	}
	for _, at := range []*string{&j.Created, j.Start, j.End, j.Tasks[0].Start, j.Tasks[0].End} {
		if _, err := time.Parse("2006-01-02T15:04:05Z", *at); err != nil {
			t.Errorf("a time that is not in whole seconds, UTC: %v", err)
		}
	}
	var logs struct{ Stdout, Stderr string }
	w.get("/job/logs?id="+id+"&task=lint", &logs)
	if logs.Stdout != "lint v1\n" || logs.Stderr != "warn\n" {
		t.Errorf("logs of lint: %+v", logs)
	}
	w.get("/job/logs?id="+id+"&task=test", &logs)
	if logs.Stdout != "a\"<\n\tb" || logs.Stderr != "" {
		t.Errorf("logs of test: %+v", logs)
	}
	if _, text := w.do("GET", "/job/logs?id="+id+"&task=test&stream=stdout&tail=1", "", bearer(t)); text != "\tb" {
		t.Errorf("tail: %q", text)
	}

	failed := w.ended(w.schedule(`{"pipeline":"fails","variables":[]}`))
	if !failed.Errored || failed.LastError == "" || !failed.Tasks[0].Errored || failed.Tasks[0].ExitCode != 3 || !failed.Tasks[1].Skipped {
		t.Errorf("failed job: %+v", failed)
	}
	w.get("/pipelines/jobs", &list)
	if len(list.Jobs) != 2 || list.Jobs[0].ID != failed.ID {
		t.Errorf("jobs, newest first: %+v", list.Jobs)
	}

	slow := w.schedule(`{"pipeline":"slow"}`)
	if res, text := w.do("POST", "/pipelines/schedule", `{"pipeline":"slow"}`, bearer(t)); res.StatusCode != 400 ||
		text != `{"error":"Error scheduling pipeline: concurrency exceeded and queueing disabled for pipeline"}` {
		t.Errorf("a second one: %d %s", res.StatusCode, text)
	}
	if res, text := w.do("POST", "/job/cancel?id="+slow, "", bearer(t)); res.StatusCode != 200 || text != "true" {
		t.Errorf("cancel: %d %s", res.StatusCode, text)
	}
	if j := w.ended(slow); !j.Canceled || j.Errored || j.Tasks[0].Status != "canceled" {
		t.Errorf("cancelled job: %+v", j)
	}
}

func TestPrunnerErrors(t *testing.T) {
	w := open(t)
	const unknown = "11111111-1111-1111-1111-111111111111"
	id := w.schedule(`{"pipeline":"fails"}`)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/pipelines/schedule", `{"pipeline":"x"}`, 400, `{"error":"Error scheduling pipeline: pipeline \"x\" is not defined"}`},
		{"POST", "/pipelines/schedule", `{`, 400, `{"error":"Error decoding JSON: `},
		{"POST", "/pipelines/schedule", ``, 400, `{"error":"Error decoding JSON: `},
		{"POST", "/pipelines/schedule", `{"pipeline":"fails","variables":"x"}`, 400, `{"error":"Error decoding JSON: `},
		{"GET", "/pipelines/schedule", ``, 405, `{"error":`},
		{"GET", "/job/detail?id=x", ``, 400, `{"error":"Invalid job id"}`},
		{"GET", "/job/detail", ``, 400, `{"error":"Invalid job id"}`},
		{"GET", "/job/detail?id=" + unknown, ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id={" + strings.ToUpper(unknown) + "}", ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id=urn:uuid:" + unknown, ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id=" + strings.ReplaceAll(unknown, "-", ""), ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id=x" + unknown + "y", ``, 400, `{"error":"Invalid job id"}`},
		{"GET", "/job/logs?id=" + id, ``, 400, `{"error":"Invalid task name"}`},
		{"GET", "/job/logs?id=" + id + "&task=x", ``, 404, `{"error":"Task not found"}`},
		{"GET", "/job/logs?id=" + unknown + "&task=x", ``, 404, `{"error":"Job not found"}`},
		{"POST", "/job/cancel?id=" + unknown, ``, 404, `{"error":"Job not found"}`},
		{"GET", "/pipelines/jobs?limit=0", ``, 400, `{"error":`},
		{"GET", "/nosuch", ``, 404, `{"error":`},
	} {
		res, text := w.do(c.method, c.path, c.body, bearer(t))
		if res.StatusCode != c.code || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s %s %s: %d %s; want %d %s", c.method, c.path, c.body, res.StatusCode, text, c.code, c.want)
		}
		if c.code == 405 && res.Header.Get("Allow") != "POST" {
			t.Errorf("405 with Allow %q", res.Header.Get("Allow"))
		}
	}
	w.ended(id)
}

func TestJobsAreTagged(t *testing.T) {
	w := open(t)
	w.ended(w.schedule(`{"pipeline":"fails"}`))
	res, text := w.do("GET", "/pipelines/jobs", "", bearer(t))
	tag := res.Header.Get("ETag")
	if tag == "" || res.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("headers: %v", res.Header)
	}
	if res, text := w.do("GET", "/pipelines/jobs", "", bearer(t), "If-None-Match: "+tag); res.StatusCode != 304 || text != "" {
		t.Errorf("with the tag: %d %q", res.StatusCode, text)
	}
	zipped, body := w.do("GET", "/pipelines/jobs", "", bearer(t), "Accept-Encoding: gzip")
	if zipped.Header.Get("ETag") == tag || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("compressed: %v", zipped.Header)
	}
	z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if plain, _ := io.ReadAll(z); string(plain) != text {
		t.Error("compressed and plain differ")
	}
	other := &world{t: t, fleet: w.fleet}
	other.url = other.gateway()
	rig.Eventually(t, "another gateway has the same tag", func() bool {
		res, _ := other.do("GET", "/pipelines/jobs", "", bearer(t))
		return res.Header.Get("ETag") == tag
	})
	w.schedule(`{"pipeline":"fails"}`)
	if res, _ := w.do("GET", "/pipelines/jobs", "", bearer(t), "If-None-Match: "+tag); res.StatusCode != 200 {
		t.Errorf("after a change: %d", res.StatusCode)
	}
}
