package client

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

func TestScopeOfTarget(t *testing.T) {
	for _, c := range []struct {
		target Target
		want   subjects.Scope
	}{
		{Target{}, "any"},
		{Target{All: true}, "all"},
		{Target{On: "web1"}, "at.web1"},
		{Target{Pool: "db"}, "pool.db.any"},
		{Target{Pool: "db", All: true}, "pool.db.all"},
		{Target{Where: "cpus > 8"}, "any"},
	} {
		if got := c.target.scope(); got != c.want || c.target.Validate() != nil {
			t.Errorf("%+v: got %s, %v", c.target, got, c.target.Validate())
		}
	}
	for _, bad := range []Target{
		{On: "a", All: true}, {On: "a", Pool: "b"}, {On: "a", Where: "true"}, {On: "a.b"}, {On: "*"}, {Pool: ">"}, {Pool: "a b"},
	} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
}

// A pause ends with its time or with its context, without a wait for either here.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := pause(t.Context(), time.Hour); err != nil || time.Since(began) != time.Hour {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

func TestMayPass(t *testing.T) {
	for code, want := range map[int]bool{400: false, 403: false, 404: false, 409: false, 429: true, 500: true, 503: true} {
		if got := mayPass(fmt.Errorf("cannot ask: %w", &RemoteError{Code: code})); got != want {
			t.Errorf("%d: got %v", code, got)
		}
	}
	if !mayPass(ErrNoAnswer) {
		t.Error("no answer may not pass")
	}
}

// An outcome is good only if the end was seen, and was good.
func TestOutcomeOK(t *testing.T) {
	if (Outcome{}).OK() || (Outcome{}).End() != nil {
		t.Error("a run without an end is good")
	}
}

// The request that the caller has given stays as it was.
func TestWithID(t *testing.T) {
	given := &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"true"}}}}
	first, second := withID(given), withID(given)
	if given.GetKind() != "" || given.GetMetadata() != nil {
		t.Errorf("the caller's is now %v", given)
	}
	if a, b := first.GetMetadata().GetId(), second.GetMetadata().GetId(); a == "" || a == b || first.GetKind() != pb.Kind {
		t.Errorf("got %q and %q", a, b)
	}
	own := withID(&pb.TaskRequest{Metadata: &pb.Metadata{Id: "mine"}})
	if own.GetMetadata().GetId() != "mine" {
		t.Errorf("got %v", own)
	}
}

func TestFanListsAreSorted(t *testing.T) {
	var l FanLists
	boom := errors.New("boom")
	l.Add("b", ReplyOK, nil)
	l.Add("a", ReplyOK, nil)
	l.Add("d", ReplyFailed, boom)
	l.Add("c", ReplyMissing, ErrNoAnswer)
	l.Add("e", ReplySkipped, nil)
	l.Add("f", ReplyUnexpected, boom)
	l.sort()
	if !slices.Equal(l.OK, []string{"a", "b"}) || l.Complete() || len(l.Errors) != 2 || l.Errors["c"] != nil || len(l.Reasons) != 1 || l.Reasons["c"] == nil {
		t.Errorf("got %+v", l)
	}
	l.Missing = nil
	if !l.Complete() {
		t.Errorf("%+v is not complete", l)
	}
	l.Short = 1
	if l.Complete() {
		t.Errorf("%+v is complete", l)
	}
}
