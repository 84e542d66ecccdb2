package events

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/subjects"
)

// marksOf says where streams stand: what is on a board may have changed when they
// have moved.
func (s *server) marksOf(ctx context.Context, streams ...string) (marks string, messages uint64, err error) {
	for _, name := range streams {
		found, err := s.JS.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			marks += "-."
			continue
		}
		if err != nil {
			return "", 0, err
		}
		state := found.CachedInfo().State
		marks += fmt.Sprintf("%d.%d.", state.LastSeq, state.Msgs)
		messages += state.Msgs
	}
	return marks[:len(marks)-1], messages, nil
}

// queueData is the queue as an event has it.
type queueData struct {
	Revision  string                 `json:"revision"`
	Lines     []client.QueueLine     `json:"lines"`
	Conflicts []client.QueueConflict `json:"conflicts"`
}

func fromQueue(e feed.Entry) bool { return e.Body == nil || bytes.Contains(e.Body, []byte(`"queued"`)) }

// readQueue reads how much waits and runs.
func (s *server) readQueue(ctx context.Context, last *sight) (*sight, error) {
	revision, messages, err := s.marksOf(ctx, s.Space.QueueStream(), subjects.BucketStream(s.Space.QueueBucket()))
	if err != nil {
		return nil, err
	}
	changed, runs, ok := changedRuns(s.Feeds.Runs, last.runs, fromQueue)
	same := last.marks == revision && (ok && len(changed) == 0 || messages == 0)
	if same && last.settled {
		return &sight{marks: revision, runs: runs, settled: true, items: last.items}, nil
	}
	data := queueData{Revision: revision, Lines: []client.QueueLine{}, Conflicts: []client.QueueConflict{}}
	lines, err := s.Client.Queue(ctx)
	if err != nil {
		return nil, err
	}
	conflicts, err := s.Client.QueueConflicts(ctx)
	if err != nil {
		return nil, err
	}
	data.Lines, data.Conflicts = append(data.Lines, lines...), append(data.Conflicts, conflicts...)
	body, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	mark := revision
	for _, line := range lines {
		mark += fmt.Sprintf(" %s.%s.%d.%d.%t", line.Pool, line.Priority, line.Waiting, line.Running, line.Paused)
	}
	return &sight{marks: revision, runs: runs, settled: same, items: map[string]item{"queue": {mark, body}}}, nil
}

func ofSchedule(e feed.Entry) bool {
	return e.Body == nil || bytes.Contains(e.Body, []byte(`"`+schedule.TagSchedule+`"`))
}

// readSchedules reads the schedules, their next ticks, and how the last one went.
func (s *server) readSchedules(ctx context.Context, last *sight) (*sight, error) {
	marks, _, err := s.marksOf(ctx, s.Space.ScheduleStream(), subjects.BucketStream(s.Space.ScheduleBucket()))
	if err != nil {
		return nil, err
	}
	changed, runs, ok := changedRuns(s.Feeds.Runs, last.runs, ofSchedule)
	same := last.marks == marks && ok && len(changed) == 0
	if same && last.settled {
		return &sight{marks: marks, runs: runs, settled: true, items: last.items, lasts: last.lasts}, nil
	}
	all, err := s.Client.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]*pb.Run{}
	if ok {
		known = lastsAfter(last.lasts, changed)
	}
	now := &sight{marks: marks, runs: runs, settled: same, items: map[string]item{}, lasts: map[string]*pb.Run{}}
	for _, one := range all {
		run, has := known[one.Name]
		if !has {
			newest, err := s.Client.ScheduleRuns(ctx, one.Name, 1)
			if err != nil {
				return nil, err
			}
			if len(newest) > 0 {
				run = newest[0]
			}
		}
		m := one.Message(time.Now())
		m.Last, now.lasts[one.Name] = run, run
		now.items[one.Name] = item{markOf(m), messageData(m)}
	}
	return now, nil
}

// lastsAfter are the newest records of schedules after some runs have changed; the
// schedules are left out of which that can't be told.
func lastsAfter(lasts map[string]*pb.Run, changed []feed.Entry) map[string]*pb.Run {
	lasts = maps.Clone(lasts)
	for _, e := range changed {
		run := &pb.Run{}
		if e.Body == nil || pb.UnmarshalRecord(e.Body, run) != nil {
			maps.DeleteFunc(lasts, func(_ string, last *pb.Run) bool { return last.GetId() == e.Key })
			continue
		}
		name := run.GetTags()[schedule.TagSchedule]
		if last, known := lasts[name]; known && (last == nil || !run.GetCreated().AsTime().Before(last.GetCreated().AsTime())) {
			lasts[name] = run
		}
	}
	return lasts
}

// markOf changes when a message does.
func markOf(m proto.Message) string {
	body, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	sum := sha256.Sum256(body)
	return string(sum[:])
}
