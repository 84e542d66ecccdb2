package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

type scheduleReply struct {
	Schedules []struct {
		Name, Every, By string
		Revision        int
		Over            bool
		Next            []time.Time
		Paused          *struct{ By string }
		Last            *struct{ ID string }
	}
	Runs []struct{ ID, State string }
	Next string
	ID   string
}

// schedules sends one action as any NATS client does; code is that of the error.
func (f *fleet) schedules(action string) (reply scheduleReply, code, text string) {
	f.t.Helper()
	m := f.ask("runner.schedule.any", `{"kind":"runner","spec":{"schedule":{`+action+`}}}`)
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return reply, code, m.Header.Get("Nats-Service-Error")
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		f.t.Fatalf("%s: %v in %s", action, err, m.Data)
	}
	return reply, "", ""
}

// The verb does on the wire what the library does by itself.
func TestScheduleVerb(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "web1"})
	must := func(action string) scheduleReply {
		t.Helper()
		reply, code, text := f.schedules(action)
		if code != "" {
			t.Fatalf("%s: %s %s", action, code, text)
		}
		return reply
	}
	if got := must(`"list":{}`); len(got.Schedules) != 0 {
		t.Errorf("of none: %+v", got)
	}
	got := must(`"add":{"name":"disk","every":"1h","by":"eve","task":{"argv":["true"]}}`)
	if s := got.Schedules[0]; s.Name != "disk" || s.By != "eve" || len(s.Next) != 5 || s.Revision == 0 {
		t.Errorf("add: %+v", got)
	}
	if got := must(`"pause":{"name":"disk","user":"eve"}`); got.Schedules[0].Paused == nil || got.Schedules[0].Paused.By != "eve" || len(got.Schedules[0].Next) != 0 {
		t.Errorf("pause: %+v", got)
	}
	if got := must(`"change":{"name":"disk","every":"2h","task":{"argv":["true"]}}`); got.Schedules[0].Every != "2h" || got.Schedules[0].Paused == nil {
		t.Errorf("a change keeps the pause: %+v", got)
	}
	if got := must(`"resume":{"name":"disk"}`); got.Schedules[0].Paused != nil {
		t.Errorf("resume: %+v", got)
	}
	id := must(`"run":{"name":"disk"}`).ID
	rig.Eventually(t, "its run is in the history", func() bool {
		runs := must(`"history":{"name":"disk","limit":5}`).Runs
		return len(runs) == 1 && runs[0].ID == id && runs[0].State == "COMPLETE"
	})
	if got := must(`"show":{"name":"disk"}`); got.Schedules[0].Last == nil || got.Schedules[0].Last.ID != id {
		t.Errorf("show: %+v", got)
	}
	for n := range 3 {
		must(fmt.Sprintf(`"add":{"name":"n%d","every":"1h","all":true,"task":{"argv":["true"]}}`, n))
	}
	page := must(`"list":{"limit":3}`)
	if len(page.Schedules) != 3 || page.Next != "n2" {
		t.Errorf("a page: %+v", page)
	}
	if rest := must(`"list":{"next":"` + page.Next + `"}`); len(rest.Schedules) != 1 || rest.Schedules[0].Name != "n2" || rest.Next != "" {
		t.Errorf("the next page: %+v", rest)
	}
	group := must(`"run":{"name":"n1"}`).ID
	rig.Eventually(t, "each runner has run it", func() bool {
		runs := must(`"history":{"name":"n1"}`).Runs
		return len(runs) == 1 && runs[0].ID == group+"-web1"
	})
	if got := must(`"remove":{"name":"disk"}`); got.Schedules[0].Name != "disk" {
		t.Errorf("remove: %+v", got)
	}
	for action, want := range map[string]string{
		`"show":{"name":"disk"}`:                                                    "404 unknown schedule",
		`"remove":{"name":"disk"}`:                                                  "404 unknown schedule",
		`"add":{"name":"n1","every":"1h","task":{"argv":["true"]}}`:                 "409 cannot store schedule n1: there is one of that name",
		`"change":{"name":"n1","revision":1,"every":"1h","task":{"argv":["true"]}}`: "409 cannot store schedule n1",
		`"add":{"name":"x","cron":"0 0 30 2 *","task":{"argv":["true"]}}`:           "400 ",
		`"add":{"name":"x","every":"1h"}`:                                           "400 spec.task is missing",
		`"show":{}`:                                                                 "400 spec.schedule.show.name is missing",
		`"history":{"name":"n1","limit":2000}`:                                      "400 spec.schedule.history.limit: 2000",
		`"list":{},"show":{"name":"n1"}`:                                            "400 spec.schedule: exactly one of",
		``:                                                                          "400 spec.schedule: exactly one of",
	} {
		if _, code, text := f.schedules(action); !strings.HasPrefix(code+" "+text, want) {
			t.Errorf("%s: %s %s, want %s", action, code, text, want)
		}
	}
}
