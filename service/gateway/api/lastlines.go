package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/runlog"
	"github.com/runnel-io/runnel/service/store"
)

type lastLinesIn struct {
	Group string   `query:"group" doc:"of the runs of this fan-out"`
	Run   []string `query:"run,explode" doc:"or of these runs"`
	Limit int64    `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
	Next  string   `query:"next" doc:"from the reply before, of a fan-out"`
}

type lastLines struct {
	Runs []lastLine   `json:"runs" nullable:"false" doc:"by runner, and then by id"`
	Same []sameOutput `json:"same" nullable:"false" doc:"of those that have ended: which have the same state, exit code and output; most first"`
	Next string       `json:"next" doc:"not empty when there are more"`
}

type lastLine struct {
	ID     string   `json:"id"`
	Runner string   `json:"runner"`
	State  string   `json:"state"`
	N      int64    `json:"n" doc:"the line's number; 0: no line yet"`
	Text   string   `json:"text" doc:"at most 4 KiB of it"`
	Stderr bool     `json:"stderr"`
	Time   string   `json:"t" doc:"when it was read, Unix nanoseconds, by the runner's clock; empty without a line"`
	Age    *float64 `json:"age" doc:"seconds since then, by the gateway's clock; null without a line"`
}

type sameOutput struct {
	State    string   `json:"state"`
	ExitCode int32    `json:"exitCode"`
	SHA256   string   `json:"sha256" doc:"of the whole output; empty: it is not whole, so that none is the same"`
	Text     string   `json:"text" doc:"the last line"`
	Runs     []string `json:"runs" nullable:"false"`
}

func (s *server) describeLastLines(d *desk) {
	add(d, row{"last-lines", "GET", "/api/v1/last-lines", auth.ScopeRead, "The last line of each of many runs, and which have the same output", 0}, s.lastLines)
}

// lastLinesAtOnce is how many logs are looked at together.
const lastLinesAtOnce = 16

func (s *server) lastLines(ctx context.Context, in *lastLinesIn) (*answer[lastLines], error) {
	if (in.Group == "") == (len(in.Run) == 0) {
		return nil, problem(http.StatusBadRequest, "give a group, or one run or several")
	}
	if len(in.Run) > int(in.Limit) {
		return nil, problem(http.StatusBadRequest, "run: %d are given, %d at most", len(in.Run), in.Limit)
	}
	q := &pb.Query{Runs: in.Run, Limit: in.Limit}
	if in.Group != "" {
		q = &pb.Query{All: true, Group: in.Group, Limit: in.Limit, Next: in.Next}
	}
	found, err := s.Client.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	runs := found.GetRuns()
	slices.SortFunc(runs, func(a, b *pb.Run) int {
		return cmp.Or(cmp.Compare(a.GetRunner(), b.GetRunner()), cmp.Compare(a.GetId(), b.GetId()))
	})
	out := lastLines{Runs: make([]lastLine, len(runs)), Next: found.GetNext()}
	var wg sync.WaitGroup
	places, errs := make(chan struct{}, lastLinesAtOnce), make([]error, len(runs))
	for i, r := range runs {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			out.Runs[i], errs[i] = s.lastLine(ctx, r)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	out.Same = same(runs, out.Runs)
	return &answer[lastLines]{out}, nil
}

func (s *server) lastLine(ctx context.Context, r *pb.Run) (lastLine, error) {
	last := lastLine{ID: r.GetId(), Runner: r.GetRunner(), State: r.GetState().String()}
	l, err := runlog.LastLine(ctx, s.Client, r)
	if err != nil || l == nil {
		return last, err
	}
	last.N, last.Text, last.Stderr, last.Time = l.N, l.Text, l.Stream != "", l.Time
	if nanos, err := strconv.ParseInt(l.Time, 10, 64); err == nil {
		age := time.Since(time.Unix(0, nanos)).Seconds()
		last.Age = &age
	}
	return last, nil
}

// same puts together the runs that have ended and whose output is the same, by
// its hash. One whose log is not whole is the same as no other.
func same(runs []*pb.Run, last []lastLine) []sameOutput {
	all, places := []sameOutput{}, map[string]int{}
	for i, r := range runs {
		if !store.Final(r.GetState()) {
			continue
		}
		hash, key := r.GetSha256(), fmt.Sprint(r.GetState(), r.GetExitCode(), r.GetSha256())
		if !r.GetLogComplete() {
			hash, key = "", r.GetId()
		}
		at, known := places[key]
		if !known {
			at = len(all)
			places[key] = at
			all = append(all, sameOutput{State: r.GetState().String(), ExitCode: r.GetExitCode(), SHA256: hash, Text: last[i].Text})
		}
		all[at].Runs = append(all[at].Runs, r.GetId())
	}
	slices.SortStableFunc(all, func(a, b sameOutput) int { return cmp.Compare(len(b.Runs), len(a.Runs)) })
	return all
}
