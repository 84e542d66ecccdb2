package work

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// A Line is the work of one pool and priority.
type Line struct {
	Pool     string `json:"pool"`
	Priority string `json:"priority"`
	Waiting  int64  `json:"waiting"`
	Running  int64  `json:"running"`
	// OldestSeconds is how long the oldest that waits has done so.
	OldestSeconds float64 `json:"oldestSeconds"`
	// Oldest is since when.
	Oldest *time.Time `json:"oldest,omitempty"`
	Paused bool       `json:"paused"`
	// PausedBy and PausedSince say who has paused the pool, as claimed, and when.
	PausedBy    string     `json:"pausedBy,omitempty"`
	PausedSince *time.Time `json:"pausedSince,omitempty"`
}

// paused is a Line of a pool that may be paused.
func (l Line) paused(pools map[string]Pause) Line {
	if p, is := pools[l.Pool]; is {
		l.Paused, l.PausedBy = true, p.By
		if !p.Since.IsZero() {
			l.PausedSince = &p.Since
		}
	}
	return l
}

// lane is a pool's work of a priority.
type lane struct{ pool, priority string }

// Lines counts the work by pool and priority. It costs as much as there are pools
// and runs, however much waits.
func (q *Queue) Lines(ctx context.Context) ([]Line, error) {
	if err := q.Find(ctx); err != nil {
		return nil, err
	}
	s, err := q.cfg.JS.Stream(ctx, q.stream.Name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the queue: %w", err)
	}
	stored, err := q.counts(ctx, s)
	if err != nil {
		return nil, err
	}
	running, err := q.running(ctx)
	if err != nil {
		return nil, err
	}
	paused, err := q.PausedPools(ctx)
	if err != nil {
		return nil, err
	}
	now, err := q.cfg.Store.ServerTime(ctx)
	if err != nil {
		return nil, err
	}
	var lines []Line
	for l, n := range stored {
		runs := running[l]
		line := Line{Pool: l.pool, Priority: l.priority, Running: int64(len(runs)), Waiting: max(0, int64(n)-int64(len(runs)))}
		if line.Waiting > 0 {
			oldest, err := q.oldest(ctx, l, runs)
			if err != nil {
				return nil, err
			}
			if !oldest.IsZero() {
				line.OldestSeconds, line.Oldest = max(0, now.Sub(oldest).Seconds()), &oldest
			}
		}
		if line.Waiting > 0 || line.Running > 0 {
			lines = append(lines, line.paused(paused))
		}
	}
	for pool := range paused {
		if !slices.ContainsFunc(lines, func(l Line) bool { return l.Pool == pool }) {
			lines = append(lines, Line{Pool: pool, Priority: DefaultPriority}.paused(paused))
		}
	}
	slices.SortFunc(lines, func(a, b Line) int {
		if c := strings.Compare(a.Pool, b.Pool); c != 0 {
			return c
		}
		return slices.Index(subjects.Priorities[:], a.Priority) - slices.Index(subjects.Priorities[:], b.Priority)
	})
	return lines, nil
}

// counts is how many messages each lane has, as the consumers count them: far
// quicker than to list the subjects, which is for lanes that no runner has taken
// from yet.
func (q *Queue) counts(ctx context.Context, s jetstream.Stream) (map[lane]uint64, error) {
	counts, sum := map[lane]uint64{}, uint64(0)
	consumers := s.ListConsumers(ctx)
	for info := range consumers.Info() {
		pool, priority, _, ok := q.cfg.Space.ParseWork(info.Config.FilterSubject)
		if !ok {
			continue
		}
		n := info.NumPending + uint64(max(0, info.NumAckPending))
		counts[lane{pool, priority}] = n
		sum += n
	}
	if err := consumers.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the queue: %w", err)
	}
	if s.CachedInfo().State.Msgs <= sum {
		return counts, nil
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(q.cfg.Space.Work("*", "*", "*")))
	if err != nil {
		return nil, fmt.Errorf("cannot read the queue: %w", err)
	}
	all := map[lane]uint64{}
	for subject := range info.State.Subjects {
		if pool, priority, _, ok := q.cfg.Space.ParseWork(subject); ok {
			all[lane{pool, priority}]++
		}
	}
	for l := range all {
		if _, has := counts[l]; !has {
			_ = q.EnsureConsumer(ctx, l.pool, l.priority) // for the next who counts
		}
	}
	return all, nil
}

// running are the live attempts by lane: their messages' sequences.
func (q *Queue) running(ctx context.Context) (map[lane]map[uint64]bool, error) {
	found := map[lane]map[uint64]bool{}
	query := &pb.Query{All: true, States: []pb.State{pb.State_PENDING, pb.State_RUNNING}, Limit: 1000}
	for {
		reply, err := q.cfg.Store.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, run := range reply.GetRuns() {
			if queued := run.GetQueued(); queued != nil {
				l := lane{queued.GetPool(), queued.GetPriority()}
				if found[l] == nil {
					found[l] = map[uint64]bool{}
				}
				found[l][uint64(queued.GetSeq())] = true
			}
		}
		if query.Next = reply.GetNext(); query.Next == "" {
			return found, nil
		}
	}
}

// oldest is when the first message was accepted that is not running.
func (q *Queue) oldest(ctx context.Context, l lane, running map[uint64]bool) (time.Time, error) {
	for seq := uint64(1); ; {
		m, err := q.stream.Next(ctx, q.cfg.Space.Work(l.pool, l.priority, "*"), seq)
		if errors.Is(err, stream.ErrNoMessage) {
			return time.Time{}, nil
		}
		if err != nil || !running[m.Seq] {
			return m.Time, err
		}
		seq = m.Seq + 1
	}
}

// Newest lists what waits and was accepted last, newest first.
func (q *Queue) Newest(ctx context.Context, limit int, matches func(*pb.Run) bool) ([]*pb.Run, error) {
	if err := q.Find(ctx); err != nil {
		return nil, err
	}
	s, err := q.cfg.JS.Stream(ctx, q.stream.Name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the queue: %w", err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return nil, nil
	}
	for window := uint64(2*limit + 64); ; window *= 8 {
		from := state.FirstSeq
		if window < state.LastSeq && state.LastSeq-window > from {
			from = state.LastSeq - window
		}
		var found []*pb.Run
		if err := q.EachFrom(ctx, "*", from, func(run *pb.Run, _ Work) bool {
			if matches(run) {
				found = append(found, run)
			}
			return true
		}); err != nil {
			return nil, err
		}
		if len(found) >= limit || from == state.FirstSeq {
			slices.Reverse(found)
			return found[:min(limit, len(found))], nil
		}
	}
}
