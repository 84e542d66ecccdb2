package records

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// Whatever is put and removed in whatever order: the rows are those of a plain
// list, each once, and newest first in pages of any size.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestIndexProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, plain := NewIndex(), map[string]*pb.Job{}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			n := rapid.IntRange(0, 15).Draw(t, "job")
			id := fmt.Sprint("j", n)
			if rapid.IntRange(0, 3).Draw(t, "event") == 0 {
				x.Remove(id)
				delete(plain, id)
				continue
			}
			job := &pb.Job{Id: id, Pipeline: fmt.Sprint("p", n%2), Created: timestamppb.New(noon.Add(time.Duration(n/3) * time.Second))}
			if plain[id].GetCompleted() || rapid.Bool().Draw(t, "ended") { // once and for all
				job.Completed, job.End = true, timestamppb.New(noon.Add(time.Hour))
			}
			x.Put(job)
			plain[id] = job
		}
		var want []row
		for _, job := range plain {
			if job.GetPipeline() == "p1" {
				want = append(want, RowOf(job))
			}
			if x.Get(job.GetId()) != job {
				t.Fatalf("%s is not the last one that was put", job.GetId())
			}
		}
		slices.SortFunc(want, func(a, b row) int { return compareRows(b, a) })
		var got []row
		for before, more := (row{}), true; more; {
			var page []row
			page, more = x.Page("p1", before, rapid.IntRange(1, 5).Draw(t, "limit"))
			if got = append(got, page...); len(page) > 0 {
				before = page[len(page)-1]
			}
		}
		if !slices.Equal(got, want) || len(x.rows) != len(plain) || len(x.created) != len(plain) {
			t.Fatalf("got %v of %d, want %v of %d", got, len(x.rows), want, len(plain))
		}
		if ended := slices.Sorted(slices.Values(x.ended)); len(slices.Compact(ended)) != len(x.ended) {
			t.Fatalf("twice among the ended: %v", x.ended)
		}
	})
}

func TestOutdated(t *testing.T) {
	x := NewIndex()
	for i := range 6 {
		job := &pb.Job{Id: fmt.Sprint("j", i), Pipeline: "p", Created: timestamppb.New(noon.Add(time.Duration(i) * time.Minute))}
		if i != 2 { // one still runs
			job.Completed, job.End = true, timestamppb.New(noon.Add(time.Duration(10+i)*time.Minute))
		}
		x.Put(job)
	}
	x.Put(&pb.Job{Id: "other", Pipeline: "q", Created: timestamppb.New(noon), End: timestamppb.New(noon), Completed: true})
	for _, c := range []struct {
		p    definition.Pipeline
		at   time.Duration
		want string
		next time.Duration
	}{
		{definition.Pipeline{}, time.Hour, "", 0},
		{definition.Pipeline{RetentionCount: 2}, time.Hour, "j3 j1 j0", 0},
		{definition.Pipeline{RetentionCount: 9}, time.Hour, "", 0},
		{definition.Pipeline{RetentionPeriod: definition.Duration(time.Minute)}, 12 * time.Minute, "j1 j0", 14 * time.Minute},
		{definition.Pipeline{RetentionPeriod: definition.Duration(time.Minute), RetentionCount: 1}, 12 * time.Minute, "j4 j3 j1 j0", 16 * time.Minute},
	} {
		ids, next := x.Outdated("p", &c.p, noon.Add(c.at))
		if got := strings.Join(ids, " "); got != c.want || c.next == 0 != next.IsZero() || c.next != 0 && !next.Equal(noon.Add(c.next)) {
			t.Errorf("%+v: %s, next %s", c.p, got, next)
		}
	}
}

// The logs of earlier attempts go with those of the last one.
func TestEveryRun(t *testing.T) {
	for _, c := range []struct {
		attempt int32
		runs    string
		want    string
	}{
		{0, "", ""},
		{1, "J-3", "J-3"},
		{3, "J-3-a3", "J-3 J-3-a2 J-3-a3"},
		{1, "J-3-web1 J-3-web2", "J-3-web1 J-3-web2"},
		{2, "J-3-a2-web2 J-3-web1", "J-3-a2-web1 J-3-a2-web2 J-3-web1 J-3-web2"},
	} {
		all := EveryRun("J", &pb.JobTask{Number: 3, Attempt: c.attempt, Runs: strings.Fields(c.runs)})
		slices.Sort(all)
		if got := strings.Join(slices.Compact(all), " "); got != c.want {
			t.Errorf("%d attempts, %s: %s, want %s", c.attempt, c.runs, got, c.want)
		}
	}
}
