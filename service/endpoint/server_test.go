package endpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// A row that leaves the any scopes is heard there while there is a free place,
// and elsewhere always.
func TestLeavingAny(t *testing.T) {
	var full atomic.Bool
	row := looking(sees("fog"))
	row.LeavesAny = true
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{row}, Free: func() bool { return !full.Load() }})
	heard := func(subject string) bool {
		_, err := s.nc.Request(subject, []byte(glance), soon)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			t.Fatalf("%s: %v", subject, err)
		}
		return err == nil
	}
	for range 3 {
		for _, any := range []string{"runner.glance.any", "runner.glance.pool.db.any"} {
			rig.Eventually(t, any+" is heard", func() bool { return heard(any) })
		}
		full.Store(true)
		s.PlacesChanged()
		for _, any := range []string{"runner.glance.any", "runner.glance.pool.db.any"} {
			rig.Eventually(t, any+" is left", func() bool { return !heard(any) })
		}
		for _, other := range []string{"runner.glance.at.web1", "runner.glance.all", "runner.glance.pool.db.all"} {
			if !heard(other) {
				t.Errorf("%s is not heard", other)
			}
		}
		full.Store(false)
		s.PlacesChanged()
	}
	s.LeaveAny()
	s.PlacesChanged()
	if heard("runner.glance.any") {
		t.Error("heard after LeaveAny")
	}
	any := s.stats("runner.glance.at.web1")["any"].(map[string]any)["runner.glance.any"].(map[string]any)
	if any["requests"].(float64) < 3 {
		t.Errorf("the statistics of any are %v", any)
	}
}

// A row is heard in the scopes of its reach and in no other.
func TestReach(t *testing.T) {
	for reach, want := range map[endpoint.Reach]string{
		endpoint.ReachAt:                       "at.web1",
		endpoint.ReachAny | endpoint.ReachAt:   "any at.web1",
		endpoint.ReachAll:                      "all",
		endpoint.ReachPools:                    "pool.db.any pool.db.all",
		endpoint.ReachEverywhere:               "any at.web1 all pool.db.any pool.db.all",
		endpoint.ReachPools | endpoint.ReachAt: "at.web1 pool.db.any pool.db.all",
	} {
		row := looking(sees("fog"))
		row.Reach = reach
		s := serve(t, endpoint.Config{Rows: []endpoint.Row{row}})
		var heard []string
		for _, scope := range strings.Fields("any at.web1 at.web2 all pool.db.any pool.db.all pool.web.any") {
			if _, err := s.nc.Request("runner.glance."+scope, []byte(glance), soon); err == nil {
				heard = append(heard, scope)
			}
		}
		if got := strings.Join(heard, " "); got != want {
			t.Errorf("reach %b: got %s, want %s", reach, got, want)
		}
	}
}

// Counts, metrics and the audit's line agree.
func TestCounts(t *testing.T) {
	metrics := prometheus.NewRegistry()
	s := serve(t, endpoint.Config{Metrics: metrics, Rows: []endpoint.Row{looking(func(_ context.Context, r *endpoint.Request, req *pb.GlanceRequest) (*pb.GlanceReply, error) {
		r.Run = "run-7"
		if req.GetSpec().GetGlance().GetSys().GetEnable() {
			return nil, endpoint.Coded(403, errors.New("no sys"))
		}
		return &pb.GlanceReply{}, nil
	})}})
	for range 3 {
		isReply(t, s.ask("runner.glance.at.web1", glance, "traceparent", "00-ab-cd-01"), "")
	}
	isError(t, s.ask("runner.glance.at.web1", strings.Replace(glance, `{}`, `{"sys":{"enable":true}}`, 1)), "403", "no sys")
	if err := s.nc.PublishRequest("runner.glance.at.web1", "runner.log.web1.x", []byte(glance)); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "five are counted", func() bool { return s.requests() == 5 })
	stats := s.stats("runner.glance.at.web1")
	if stats["errors"] != 1.0 || stats["last_error"] != "no sys" || stats["refused_reply_subjects"] != 1.0 {
		t.Errorf("got %v", stats)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"runnel_requests_total 200 web1 glance": 3, "runnel_requests_total 403 web1 glance": 1, "runnel_refused_reply_subjects_total web1 glance": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v of %v", name, got[name], got)
		}
	}
	for _, text := range []string{
		`msg="request accepted" runner=web1 subject=runner.glance.at.web1 reply=_INBOX.`, "run=run-7", "traceparent=00-ab-cd-01",
		`code=403`, `error="no sys"`, "reply=runner.log.web1.x setting=replyPrefixes",
	} {
		if !strings.Contains(s.log.String(), text) {
			t.Errorf("the log has no %s:\n%s", text, s.log)
		}
	}
}

// The example in the metadata of an endpoint works as it is.
func TestMetadata(t *testing.T) {
	row := looking(sees("fog"))
	row.About, row.Ask, row.Reply, row.LeavesAny = "look at the host", glance, `{"error":""}`, true
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{row}})
	var info struct {
		Name, Description string
		Metadata          map[string]string
		Endpoints         []struct {
			Subject    string
			QueueGroup string `json:"queue_group"`
			Metadata   map[string]string
		}
	}
	if err := json.Unmarshal(s.ask("$SRV.INFO.runner", "").Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != "runner" || info.Metadata["runner"] != "web1" || len(info.Endpoints) != 3 {
		t.Errorf("got %+v", info)
	}
	for _, e := range info.Endpoints {
		if e.Metadata["any"] != "runner.glance.any runner.glance.pool.db.any" || e.Metadata["any-queue"] != subjects.Queue || e.QueueGroup != "" {
			t.Errorf("got %+v", e)
		}
		isReply(t, s.ask(e.Subject, e.Metadata["request"]), "fog")
	}
}
