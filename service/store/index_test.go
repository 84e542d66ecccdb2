package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store/index"
	"github.com/runnel-io/runnel/service/store/record"
	"github.com/runnel-io/runnel/tests/rig"
)

// many writes n records, of runs that lasted up to some seconds; every 500th is
// still live. It returns them, newest first.
func many(t testing.TB, s *Store, n int) []*pb.Run {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	runs := make([]*pb.Run, n)
	began := time.Now().Add(-time.Duration(n) * time.Millisecond)
	for i := range runs {
		run := newRun(fmt.Sprintf("01JABCDEFGHJKMNPQRSTV%05d", i), pb.State_COMPLETE)
		run.Created = timestamppb.New(began.Add(time.Duration(i)*time.Millisecond - time.Duration(random.IntN(3000))*time.Millisecond))
		run.Runner = "web" + strconv.Itoa(i%20)
		run.Tags = map[string]string{"team": "blue", "n": strconv.Itoa(i / 10)}
		if i%100 == 0 {
			run.Group = "g" + strconv.Itoa(i/1000)
		}
		switch {
		case i%500 == 0:
			run.State = pb.State_RUNNING
		case i%1000 == 7:
			run.State = pb.State_FAILED
		}
		runs[i] = run
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				if _, err := s.Create(t.Context(), runs[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(runs, func(a, b *pb.Run) int {
		return record.Place{Time: b.Created.AsTime().UnixNano(), ID: b.Id}.Compare(record.Place{Time: a.Created.AsTime().UnixNano(), ID: a.Id})
	})
	return runs
}

var indexQueries = []*pb.Query{
	{All: true, Limit: 20},
	{All: true, Limit: 20, States: []pb.State{pb.State_RUNNING}},
	{All: true, Limit: 20, States: []pb.State{pb.State_FAILED}},
	{All: true, Limit: 20, States: []pb.State{pb.State_COMPLETE}},
	{All: true, Limit: 20, Tags: map[string]string{"n": "17"}},
	{All: true, Limit: 20, Tags: map[string]string{"team": "blue"}},
	{All: true, Limit: 20, Tags: map[string]string{"team": "red"}},
	{All: true, Limit: 20, Runner: "web7"},
	{All: true, Limit: 20, Group: "g1"},
	{All: true, Limit: 20, Runner: "web0", States: []pb.State{pb.State_RUNNING, pb.State_FAILED}},
}

// wantLists asks all of the queries, all pages of them.
func wantLists(t *testing.T, s *Store, what string, runs []*pb.Run) {
	t.Helper()
	for _, q := range indexQueries {
		f := filter{q.States, record.Traits{Tags: q.Tags, Runner: q.Runner, Group: q.Group}}
		var want, got []string
		for _, run := range runs {
			if f.Traits.Fit(run) && (len(q.States) == 0 || slices.Contains(q.States, run.State)) {
				want = append(want, run.Id)
			}
		}
		q := &pb.Query{All: true, Limit: q.Limit, States: q.States, Tags: q.Tags, Runner: q.Runner, Group: q.Group}
		for range 8 {
			reply := query(t, s, q)
			got = append(got, ids(reply.Runs)...)
			if q.Next = reply.Next; q.Next == "" {
				break
			}
		}
		if q.Next != "" && len(got) <= len(want) {
			want = want[:len(got)]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v: got %d runs %.200v, want %d runs %.200v", what, q, len(got), got, len(want), want)
		}
	}
}

func keepIndex(t testing.TB, s *Store) {
	t.Helper()
	if err := s.KeepIndex(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// covered is up to which revision the index goes.
func covered(t testing.TB, s *Store) uint64 {
	t.Helper()
	info, err := s.runs.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := s.index.Shelf(t.Context(), false)
	if errors.Is(err, ErrNoFleet) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := shelf.Read(t.Context(), info.Created)
	if err != nil {
		t.Fatal(err)
	}
	return d.Rev
}

// TestIndexedLists: lists are the same with an index as without one, while it
// grows, when records have moved on since, and on a runner that has just started.
func TestIndexedLists(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := open(t, srv, Config{})
	runs := many(t, s, 3000)
	wantLists(t, s, "records of an older version", runs)
	keepIndex(t, s)
	if covered(t, s) == 0 {
		t.Fatal("there is no index")
	}
	wantLists(t, open(t, srv, Config{}), "indexed", runs)
	moved := 0
	for _, run := range runs { // the live ones end, one is removed
		if run.State == pb.State_RUNNING {
			_, rev, err := s.Get(t.Context(), run.Id)
			if err != nil {
				t.Fatal(err)
			}
			move(t, s, run, rev, pb.State_COMPLETE)
			moved++
		}
	}
	if err := s.Remove(t.Context(), runs[40].Id); err != nil || moved == 0 {
		t.Fatal(err, moved)
	}
	runs = slices.Delete(runs, 40, 41)
	wantLists(t, open(t, srv, Config{}), "moved on", runs)
	for i := range 10 * index.TailItems {
		run := newRun(fmt.Sprintf("02JABCDEFGHJKMNPQRSTV%05d", i), pb.State_FAILED)
		run.Runner = "web7"
		create(t, s, run)
		runs = slices.Insert(runs, 0, run)
		if i%(2*index.TailItems) == 0 {
			keepIndex(t, open(t, srv, Config{}))
		}
	}
	keepIndex(t, s)
	wantLists(t, open(t, srv, Config{}), "grown", runs)
	live, err := s.FindLive(t.Context(), "web0")
	if err != nil || len(live) != 0 {
		t.Errorf("live are %v, %v", ids(live), err)
	}
}

// TestIndexRepairsItself: whatever has become of the index, lists are right, and
// it is made anew.
func TestIndexRepairsItself(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := open(t, srv, Config{})
	runs := many(t, s, 3000)
	for name, damage := range map[string]func(jetstream.KeyValue, []string) error{
		"removed": func(jetstream.KeyValue, []string) error {
			return rig.JetStream(t, rig.Connect(t, srv)).DeleteKeyValue(t.Context(), "runner_index")
		},
		"emptied": func(jetstream.KeyValue, []string) error {
			stream, err := rig.JetStream(t, rig.Connect(t, srv)).Stream(t.Context(), "KV_runner_index")
			if err == nil {
				err = stream.Purge(t.Context())
			}
			return err
		},
		"directory is rubbish": func(index jetstream.KeyValue, _ []string) error {
			_, err := index.PutString(t.Context(), "directory", "{}")
			return err
		},
		"blocks are gone": func(index jetstream.KeyValue, blocks []string) (err error) {
			for _, key := range blocks {
				err = errors.Join(err, index.Delete(t.Context(), key))
			}
			return err
		},
		"blocks are other ones": func(index jetstream.KeyValue, blocks []string) (err error) {
			other, err := index.Get(t.Context(), blocks[0])
			for _, key := range blocks[1:] {
				if err == nil {
					_, err = index.Put(t.Context(), key, other.Value())
				}
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			keepIndex(t, s)
			if covered(t, s) == 0 {
				t.Fatal("there is no index")
			}
			index, err := rig.JetStream(t, rig.Connect(t, srv)).KeyValue(t.Context(), "runner_index")
			if err != nil {
				t.Fatal(err)
			}
			keys, err := index.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			blocks := slices.DeleteFunc(keys, func(key string) bool { return len(key) != 16 })
			if err := damage(index, blocks); err != nil {
				t.Fatal(err)
			}
			asked := open(t, srv, Config{})
			wantLists(t, asked, name, runs)
			select {
			case <-asked.IndexWanted():
			default:
				t.Error("nobody wants the index repaired")
			}
			keepIndex(t, asked)
			if covered(t, s) == 0 {
				t.Error("the index was not made anew")
			}
			wantLists(t, open(t, srv, Config{}), name+", repaired", runs)
		})
	}
}

// BenchmarkLists is each of the lists at 100,000 records, asked of 20 runners in
// turn that were not asked before.
func BenchmarkLists(b *testing.B) {
	srv := server(b)
	s := open(b, srv, Config{})
	many(b, s, 100_000)
	began := time.Now()
	keepIndex(b, s)
	b.Logf("the index was made in %s", time.Since(began))
	for _, q := range indexQueries {
		b.Run(fmt.Sprintf("%v %v %s%s", q.States, q.Tags, q.Runner, q.Group), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				for range 20 {
					cold := open(b, srv, Config{})
					began := time.Now()
					query(b, cold, q)
					took = append(took, time.Since(began))
					cold.runs.Conn().Close()
				}
			}
			slices.Sort(took)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(took[0]), "best-ms")
			b.ReportMetric(ms(took[len(took)/2]), "median-ms")
			b.ReportMetric(ms(took[len(took)-1]), "worst-ms")
		})
	}
}

// TestListsAreBounded: 20 runners in turn, none of which was asked before, find
// each list among 100,000 records in 20 ms; in CI fewer, with tenfold slack.
func TestListsAreBounded(t *testing.T) {
	records, limit := 5000, 2*time.Second
	if os.Getenv("RUNNEL_LONG") != "" {
		records, limit = 100_000, 20*time.Millisecond
	}
	srv := server(t)
	s := open(t, srv, Config{})
	many(t, s, records)
	keepIndex(t, s)
	for _, q := range indexQueries {
		var took []time.Duration
		for range 20 {
			cold := open(t, srv, Config{})
			began := time.Now()
			query(t, cold, q)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("%v: median %s, worst %s", q, took[10], took[19])
		if took[10] > limit {
			t.Errorf("%v takes %s of %d records, want %s at most", q, took[10], records, limit)
		}
	}
}
