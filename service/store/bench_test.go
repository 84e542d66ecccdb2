package store

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store/record"
)

// fill writes records as a fleet leaves them: three writes each, holes between.
func fill(b testing.TB, s *Store, n int) {
	b.Helper()
	const together = 16
	done := make(chan error, together)
	for w := range together {
		go func() {
			for i := w; i < n; i += together {
				run := newRun(fmt.Sprintf("01JABCDEFGHJKMNPQRSTV%05d", i), pb.State_PENDING)
				run.Tags["n"] = strconv.Itoa(i % 1000)
				run.Digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
				rev, err := s.Create(b.Context(), run)
				for _, state := range []pb.State{pb.State_RUNNING, pb.State_COMPLETE} {
					if err == nil {
						run.State, run.Started, run.Ended, run.Sha256 = state, run.Created, timestamppb.Now(), run.Digest
						rev, err = s.Update(b.Context(), run, rev)
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range together {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuery10k(b *testing.B) {
	s := open(b, server(b), Config{})
	fill(b, s, 10_000)
	for _, c := range []struct {
		name  string
		query *pb.Query
		want  int
	}{
		{"id", &pb.Query{Runs: []string{"01JABCDEFGHJKMNPQRSTV05000"}}, 1},
		{"all", &pb.Query{All: true}, 100},
		{"tagOfAll", &pb.Query{All: true, Tags: map[string]string{"team": "blue"}}, 100},
		{"tagOfTen", &pb.Query{All: true, Tags: map[string]string{"n": "7"}}, 10},
		{"running", &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if got := len(query(b, s, c.query).Runs); got != c.want {
					b.Fatalf("got %d runs, want %d", got, c.want)
				}
			}
		})
	}
	runtime.GC()
}

// BenchmarkRecords is what the records of one run cost.
func BenchmarkRecords(b *testing.B) {
	s := open(b, server(b), Config{})
	i := 0
	for b.Loop() {
		i++
		run := newRun(strconv.Itoa(i), pb.State_PENDING)
		rev := create(b, s, run)
		rev = move(b, s, run, rev, pb.State_RUNNING)
		move(b, s, run, rev, pb.State_COMPLETE)
	}
}

func BenchmarkPeek(b *testing.B) {
	run := newRun("01JABCDEFGHJKMNPQRSTV05000", pb.State_RUNNING)
	body, err := encode(run)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if p, err := record.Peek(body, record.Traits{Tags: run.Tags}); err != nil || !p.Fits {
			b.Fatal(p, err)
		}
	}
}
