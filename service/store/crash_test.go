package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/tests/rig"
)

// A server that crashed finds in its files what is there and nothing else: no
// record that was removed or has outlived its time, and no run that has not ended.
func TestNothingComesBackAfterACrash(t *testing.T) {
	t.Parallel()
	before := filepath.Join(t.TempDir(), "before")
	s := onDisk(t, before, Config{Retention: time.Second, least: time.Second, OnlineFor: time.Millisecond})
	for _, id := range []string{"aged", "removed"} {
		finish(t, s, newRun(id, pb.State_RUNNING))
	}
	if err := s.remove(within(t, 10*time.Second), "removed", 0); err != nil {
		t.Fatal(err)
	}
	create(t, s, newRun("live", pb.State_RUNNING))
	if err := putCard(t, s, &pb.Card{Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the runner is gone", func() bool { return s.Forget(t.Context(), "gone") == nil })
	for name, left := range map[string]uint64{"KV_runner_runs": 1, "KV_runner_fleet": 0} {
		rig.Eventually(t, "no marker is left in "+name, func() bool {
			b := map[string]*kv.Bucket{"KV_runner_runs": s.runs, "KV_runner_fleet": s.fleet}[name]
			info, err := b.Info(t.Context())
			return err == nil && info.State.Msgs == left
		})
	}
	create(t, s, newRun("after", pb.State_RUNNING)) // or the server would have no reason to look into its files

	after := filepath.Join(t.TempDir(), "after")
	if err := os.CopyFS(after, os.DirFS(before)); err != nil { // what a crash at this moment would leave
		t.Fatal(err)
	}
	again := onDisk(t, after, Config{Retention: time.Second, least: time.Second})
	got := ids(query(t, again, &pb.Query{All: true}).Runs)
	slices.Sort(got)
	if !slices.Equal(got, []string{"after", "live"}) {
		t.Errorf("after a crash there are %v", got)
	}
	if cards, err := again.Cards(t.Context()); err != nil || len(cards) != 0 {
		t.Errorf("after a crash there are the cards %v, %v", cards, err)
	}
}

func onDisk(t *testing.T, dir string, cfg Config) *Store {
	t.Helper()
	srv, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return open(t, srv, cfg)
}
