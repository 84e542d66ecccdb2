package schedule

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
)

// foreseenYears is for how long ahead a tick is looked for.
const foreseenYears = 5

// Next lists its next ticks after a time, n at most: none of a paused one.
func (s Schedule) Next(after time.Time, n int) []time.Time {
	if s.Paused != nil {
		return nil
	}
	return s.ticks(after, n)
}

// ticks is Next whether it is paused or not.
func (s Schedule) ticks(after time.Time, n int) (next []time.Time) {
	p, err := s.Pattern()
	if err != nil {
		return nil
	}
	if s.From != nil && s.From.After(after) {
		after = s.From.Add(-time.Second)
	}
	if every := p.Interval(); every > 0 {
		since := s.Since.Round(time.Second)
		if since.IsZero() {
			return nil // another client's: only the server knows
		}
		tick := since.Add((max(after.Sub(since), 0)/every + 1) * every)
		for ; len(next) < n && s.Within(tick); tick = tick.Add(every) {
			next = append(next, tick.UTC())
		}
		return next
	}
	for due := range p.Between(after, after.AddDate(foreseenYears, 0, 0)) {
		if len(next) == n || s.Until != nil && due.At.After(*s.Until) {
			break
		}
		if s.Within(due.At) {
			next = append(next, due.At.UTC())
		}
	}
	return next
}

// Over says that no tick can come any more.
func (s Schedule) Over(now time.Time) bool {
	if s.Until != nil && s.Until.Before(now) {
		return true
	}
	return (s.Until != nil || s.At != nil) && len(s.ticks(now, 1)) == 0
}

// foreseen is how many ticks ahead a Message tells.
const foreseen = 5

// Message is a schedule as the wire has it.
func (s Schedule) Message(now time.Time) *pb.Schedule {
	m := &pb.Schedule{
		Name: s.Name, Cron: s.Cron, Tz: s.Zone, Every: s.Every, At: stamp(s.At),
		Pool: s.Pool, All: s.All, On: s.On, Where: s.Where, From: stamp(s.From), Until: stamp(s.Until),
		Jitter: s.Jitter, StartDeadline: s.StartDeadline, Overlap: string(s.Overlap),
		Task: s.Task.GetSpec().GetTask(), Revision: int64(s.Rev), Since: stamp(&s.Since), By: s.By, Over: s.Over(now), Pipeline: s.Pipeline, Source: s.Source,
	}
	if name := s.Task.GetMetadata().GetName(); m.Task != nil && m.Task.Name == "" && name != "" {
		m.Task = proto.CloneOf(m.Task)
		m.Task.Name = name
	}
	if s.Paused != nil {
		m.Paused = &pb.SchedulePause{Since: timestamppb.New(s.Paused.Since), By: s.Paused.By}
	}
	for _, tick := range s.Next(now, foreseen) {
		m.Next = append(m.Next, timestamppb.New(tick))
	}
	return m
}

// FromMessage is the schedule that a request has. What only replies have is left
// out.
func FromMessage(m *pb.Schedule) Schedule {
	return Schedule{
		Name: m.GetName(), Rev: uint64(m.GetRevision()),
		Spec: Spec{
			Cron: m.GetCron(), Zone: m.GetTz(), Every: m.GetEvery(), At: timeOf(m.GetAt()),
			Pool: m.GetPool(), All: m.GetAll() || len(m.GetOn()) > 0 || m.GetWhere() != "", On: m.GetOn(), Where: m.GetWhere(),
			From: timeOf(m.GetFrom()), Until: timeOf(m.GetUntil()),
			Jitter: m.GetJitter(), StartDeadline: m.GetStartDeadline(), Overlap: Overlap(m.GetOverlap()), By: m.GetBy(),
		},
		Task: &pb.TaskRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Metadata: &pb.Metadata{Name: m.GetTask().GetName()}, Spec: &pb.TaskSpec{Task: m.GetTask()}},
	}
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil || t.IsZero() {
		return nil
	}
	return timestamppb.New(*t)
}

func timeOf(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}
