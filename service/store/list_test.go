package store

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store/record"
)

// TestListAgreesWithModel asks random queries of a bucket full of runs that were
// created and ended in quite different orders, and compares all pages with what
// a plain sort of everything gives.
func TestListAgreesWithModel(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	began := time.Now()
	type model struct {
		run  *pb.Run
		time time.Time
	}
	var all []model
	var late []func()
	for i := range 400 {
		run := newRun("x"+strconv.Itoa(i*7919%400), pb.State_RUNNING)
		run.Tags["n"] = strconv.Itoa(i % 80)
		// Some runners' clocks are behind, and runs were created in no order.
		run.Created = timestamppb.New(began.Add(-time.Duration(i*104729%400) * time.Second))
		rev := create(t, s, run)
		all = append(all, model{run, run.Created.AsTime()})
		end := func() { move(t, s, run, rev, []pb.State{pb.State_COMPLETE, pb.State_FAILED}[i%2]) }
		switch i % 10 {
		case 0: // stays
		case 1:
			late = append(late, end)
		default:
			end()
		}
	}
	for _, end := range late {
		end()
	}
	slices.SortFunc(all, func(a, b model) int {
		if c := b.time.Compare(a.time); c != 0 {
			return c
		}
		return strings.Compare(b.run.Id, a.run.Id)
	})
	rapid.Check(t, func(rt *rapid.T) {
		q := &pb.Query{All: true, Limit: rapid.Int64Range(30, 700).Draw(rt, "limit")}
		q.States = rapid.SliceOfN(rapid.SampledFrom(allStates), 0, 2).Draw(rt, "states")
		q.Tags = rapid.SampledFrom([]map[string]string{nil, {"team": "blue"}, {"n": "7"}, {"n": "7", "team": "blue"}, {"n": "x"}}).Draw(rt, "tags")
		var want []string
		for _, m := range all {
			if (len(q.States) == 0 || slices.Contains(q.States, m.run.State)) && (record.Traits{Tags: q.Tags}).Fit(m.run) {
				want = append(want, m.run.Id)
			}
		}
		var got []string
		for {
			reply := query(t, s, q)
			got = append(got, ids(reply.Runs)...)
			if len(reply.Runs) > int(q.Limit) {
				rt.Fatalf("a page of %d with limit %d", len(reply.Runs), q.Limit)
			}
			if q.Next = reply.Next; q.Next == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("%v: (-want +got)\n%s", q, diff)
		}
	})
	if n := consumers(t, s); n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

// TestPagesWhileRunsEnd: every run that was there all the time is listed exactly
// once, whatever changes meanwhile.
func TestPagesWhileRunsEnd(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	live := make(map[string]func())
	for i := range 400 {
		run := newRun(name(i), pb.State_RUNNING)
		rev := create(t, owner, run)
		live[run.Id] = func() { move(t, owner, run, rev, pb.State_COMPLETE) }
	}
	names := slices.Sorted(maps.Keys(live))
	q := &pb.Query{All: true, Limit: 50}
	var got []string
	for page := 0; ; page++ {
		for i := page; page < 12 && i < len(names); i += 12 {
			live[names[i]]()
		}
		create(t, owner, newRun("later"+strconv.Itoa(page), pb.State_RUNNING))
		reply := query(t, s, q)
		got = append(got, ids(reply.Runs)...)
		if q.Next = reply.Next; q.Next == "" {
			break
		}
	}
	got = slices.DeleteFunc(got, func(id string) bool { return strings.HasPrefix(id, "later") })
	slices.Sort(got)
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPagesFitInAReply: big records make shorter pages.
func TestPagesFitInAReply(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	for i := range 100 {
		run := newRun(name(i), pb.State_RUNNING)
		rev := create(t, s, run)
		run.Error = strings.Repeat("x", maxRecord)
		move(t, s, run, rev, pb.State_FAILED)
	}
	q := &pb.Query{All: true}
	n := 0
	for {
		reply := query(t, s, q)
		body, err := pb.MarshalJSON(reply)
		if err != nil || int64(len(body)) > s.runs.Conn().MaxPayload() {
			t.Fatalf("a reply of %d bytes (%v), and %d is what a message can have", len(body), err, s.runs.Conn().MaxPayload())
		}
		n += len(reply.Runs)
		if q.Next = reply.Next; q.Next == "" {
			break
		}
	}
	if n != 100 {
		t.Errorf("got %d runs, want 100", n)
	}
}

// TestListPassesOverRubbish: what somebody else put in the bucket is no run.
func TestListPassesOverRubbish(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	finish(t, s, newRun("a", pb.State_RUNNING))
	for key, value := range map[string]string{"x": "hello", "y": `{"id":"other"}`, "z": "", "a.b": `{"id":"a.b"}`} {
		if _, err := s.runs.KV().PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(query(t, s, &pb.Query{All: true}).Runs); len(got) != 1 || got[0] != "a" {
		t.Errorf("got %v, want a alone", got)
	}
	if _, _, err := s.Get(t.Context(), "x"); err == nil {
		t.Error("a record that isn't one was read")
	}
}
