package gateway_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

const drawn = `
pipelines:
  drawn:
    env: {REGION: eu}
    tasks:
      build: {script: ['echo {{ .version }} {{ .REGION }}']}
      image: {script: ['true'], depends_on: build}
      docs: {script: ['echo {{ index . "theme" | default "dark" }}'], allow_failure: true, on: {pool: default}}
      publish: {script: ['echo {{ .channel | default "stable" }} {{ default 3 .tries }}'], depends_on: [image, docs], when: 'vars.go == true'}
  delayed:
    start_delay: 1h
    tasks: {a: {script: ['true']}}
  single:
    tasks: {a: {script: [sleep 100]}}
`

type shownPipeline struct {
	Pipeline struct {
		Name      string
		Variables []string
	}
	Variables []struct {
		Name     string
		Required bool
		Optional bool
		Default  any
		Tasks    []string
	}
	Tasks []struct {
		Name      string
		DependsOn []string
		Layer     int
		On        map[string]any
		When      string

		AllowFailure bool
	}
	Timers []map[string]string
	Median struct {
		Seconds float64
		Tasks   map[string]float64
	}
	Jobs []shownJob
}

type shownJob struct {
	ID, Waits, CanceledBy, Reason string
	CanceledAt, NotBefore         *time.Time
	Place                         int64
	Canceled, Completed           bool
}

// A form is made of the variables, a picture of the tasks.
func TestPipelineIsShown(t *testing.T) {
	w := open(t)
	w.apply(drawn)
	var got shownPipeline
	rig.Eventually(t, "the pipeline is known", func() bool { return w.send("GET", "/api/v1/pipelines/drawn", "", &got) == 200 })
	job := w.schedule(`{"pipeline":"drawn","variables":{"version":"1","channel":"","tries":0,"go":true}}`)
	w.ended(job)
	rig.Eventually(t, "the median", func() bool {
		w.send("GET", "/api/v1/pipelines/drawn", "", &got)
		return got.Median.Seconds > 0
	})
	variables, _ := json.Marshal(got.Variables)
	const want = `[{"Name":"channel","Required":false,"Optional":false,"Default":"stable","Tasks":["publish"]},` +
		`{"Name":"go","Required":false,"Optional":true,"Default":null,"Tasks":["publish"]},` +
		`{"Name":"theme","Required":false,"Optional":true,"Default":"dark","Tasks":["docs"]},` +
		`{"Name":"tries","Required":false,"Optional":false,"Default":3,"Tasks":["publish"]},` +
		`{"Name":"version","Required":true,"Optional":false,"Default":null,"Tasks":["build"]}]`
	if string(variables) != want {
		t.Errorf("variables:\n%s, want\n%s", variables, want)
	}
	if names := strings.Join(got.Pipeline.Variables, " "); names != "channel go theme tries version" {
		t.Errorf("names of variables: %s", names)
	}
	var picture []string
	for _, n := range got.Tasks {
		line, _ := json.Marshal([]any{n.Name, n.DependsOn, n.Layer, n.AllowFailure, n.On, n.When})
		picture = append(picture, string(line))
	}
	if !reflect.DeepEqual(picture, []string{
		`["build",[],0,false,{},""]`,
		`["docs",[],0,true,{"pool":"default"},""]`,
		`["image",["build"],1,false,{},""]`,
		`["publish",["image","docs"],2,false,{},"vars.go == true"]`,
	}) {
		t.Errorf("tasks:\n%s", strings.Join(picture, "\n"))
	}
	if len(got.Median.Tasks) != 4 || got.Median.Tasks["publish"] <= 0 || len(got.Jobs) != 1 || got.Jobs[0].ID != job || len(got.Timers) != 0 {
		t.Errorf("%+v", got)
	}
	var all struct {
		Pipelines []struct{ Name string }
		Lately    map[string]struct {
			Seconds float64
			Last    shownJob
		}
	}
	if w.send("GET", "/api/v1/pipelines", "", &all); all.Lately["drawn"].Seconds != got.Median.Seconds || all.Lately["drawn"].Last.ID != job || len(all.Lately) != 1 {
		t.Errorf("the list: %+v", all)
	}
}

// What waits says where and why; what was cancelled, by whom and since when.
func TestJobsSayWhyTheyWait(t *testing.T) {
	w := open(t)
	w.apply(drawn)
	rig.Eventually(t, "the pipeline is known", func() bool { return w.send("GET", "/api/v1/pipelines/single", "", &shownPipeline{}) == 200 })
	var jobs []string
	for range 3 {
		jobs = append(jobs, w.schedule(`{"pipeline":"single"}`))
	}
	delayed := w.schedule(`{"pipeline":"delayed"}`)
	want := map[string]string{jobs[0]: "", jobs[1]: "one job runs at a time, and it is the next", jobs[2]: "one job runs at a time, and one waits before it", delayed: "its start delay is not over"}
	waits := func(jobs []shownJob) map[string]string {
		got := map[string]string{}
		for _, j := range jobs {
			got[j.ID] = j.Waits
		}
		return got
	}
	var list struct{ Jobs []shownJob }
	rig.Eventually(t, "the list says why", func() bool {
		w.send("GET", "/api/v1/jobs", "", &list)
		return reflect.DeepEqual(waits(list.Jobs), want)
	})
	var one shownJob
	for id, why := range want {
		one = shownJob{}
		if w.send("GET", "/api/v1/jobs/"+id, "", &one); one.Waits != why || (one.Place > 0) != (why != "") || (one.NotBefore != nil) != (id == delayed) {
			t.Errorf("one alone: %+v, want %q", one, why)
		}
	}
	asked := time.Now().Add(-time.Minute)
	for _, id := range []string{jobs[2], jobs[0]} {
		one = shownJob{}
		if code := w.send("POST", "/api/v1/jobs/"+id+"/cancel", `{"reason":"lunch"}`, &one, auth.ScopeJobs); code != 200 || one.CanceledBy != "me" || one.Reason != "lunch" || one.CanceledAt == nil || one.CanceledAt.Before(asked) {
			t.Errorf("cancelled: %d %+v", code, one)
		}
	}
	rig.Eventually(t, "the second one runs", func() bool {
		one = shownJob{}
		w.send("GET", "/api/v1/jobs/"+jobs[1], "", &one)
		return one.Waits == "" && one.Place == 0
	})
}
