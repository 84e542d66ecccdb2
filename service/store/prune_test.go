package store

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/runnel-io/runnel/pb"
)

func TestPruneKeepsTheLast(t *testing.T) {
	t.Parallel()
	srv := server(t)
	var mu sync.Mutex
	var purged []string
	cfg := Config{KeepCount: 3, PurgeLog: func(_ context.Context, run *pb.Run) error {
		mu.Lock()
		defer mu.Unlock()
		purged = append(purged, run.GetId())
		return nil
	}}
	s, other := open(t, srv, cfg), open(t, srv, cfg)
	old := newRun("old", pb.State_RUNNING)
	rev := create(t, s, old)
	create(t, s, newRun("live", pb.State_PENDING))
	for i := range 5 {
		finish(t, s, newRun(name(i), pb.State_RUNNING))
	}
	move(t, s, old, rev, pb.State_COMPLETE) // the first to begin is the last to end
	if removed, err := open(t, srv, Config{}).Prune(t.Context()); err != nil || len(removed) != 0 {
		t.Errorf("without a count: removed %v, %v", removed, err)
	}
	removed := make([][]string, 2)
	var wg sync.WaitGroup
	for i, s := range []*Store{s, other} {
		wg.Go(func() {
			var err error
			if removed[i], err = s.Prune(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := ids(query(t, s, &pb.Query{All: true}).Runs)
	if slices.Sort(got); !slices.Equal(got, []string{"live", "old", "r00003", "r00004"}) {
		t.Errorf("left are %v", got)
	}
	want := []string{"r00000", "r00001", "r00002"}
	all := slices.Concat(removed...)
	slices.Sort(all)
	if all = slices.Compact(all); !slices.Equal(all, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	slices.Sort(purged)
	if purged = slices.Compact(purged); !slices.Equal(purged, want) {
		t.Errorf("purged the logs of %v, want %v", purged, want)
	}
	if again, err := s.Prune(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("a second time: removed %v, %v", again, err)
	}
	if n := consumers(t, s); n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}
