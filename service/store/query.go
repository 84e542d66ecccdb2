package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
	"github.com/runnel-io/runnel/subjects"
)

// Query answers a query (run.md, "Query"), but for the reply's service: the
// runs that match, newest first; if none does, the first that comes to match
// within q.wait; else none. If none of the listed runs can come to match any
// more, their records come back at once. Errors: ErrUnknownRun, ErrBusy,
// ErrBadNext, *pb.InvalidError.
func (s *Store) Query(ctx context.Context, q *pb.Query) (*pb.QueryReply, error) {
	return s.QueryWith(ctx, q, nil)
}

// QueryWith is Query that takes these for records of listed runs that have none:
// what waits elsewhere to begin.
func (s *Store) QueryWith(ctx context.Context, q *pb.Query, waiting []*pb.Run) (*pb.QueryReply, error) {
	wait, err := q.WaitTime()
	if err != nil {
		return nil, err
	}
	after, err := parseCursor(q.GetNext())
	if err != nil {
		return nil, err
	}
	p := newPage(filter{q.GetStates(), record.Traits{Tags: q.GetTags(), Runner: q.GetRunner(), Group: q.GetGroup()}}, q.GetLimit(), after)
	if p.waiting, err = entriesOf(waiting); err != nil {
		return nil, err
	}
	find, watch := s.list, s.watchAll
	if !q.GetAll() {
		ids := unique(q.GetRuns())
		find = func(ctx context.Context, p *page) (uint64, error) { return 0, s.listed(ctx, p, ids) }
		watch = func(ctx context.Context, p *page, _ uint64) error { return s.watchListed(ctx, p, ids) }
	}
	last, err := find(ctx, p)
	if err != nil {
		return nil, err
	}
	// A page after the first is not waited for: there was a match before.
	if len(p.rows) == 0 && wait > 0 && after == nil && (q.GetAll() || len(q.GetRuns()) > 0) {
		if err := s.waitFor(ctx, p, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, wait)
			defer cancel()
			return watch(ctx, p, last)
		}); err != nil {
			return nil, err
		}
	}
	return p.reply(s.maxReply())
}

// Wait returns the record of a run as soon as it is in one of the states, final
// if none is named, or can't come to be in one any more. It waits until ctx
// ends and doesn't count among the waits of queries. Error: ErrUnknownRun.
func (s *Store) Wait(ctx context.Context, id string, states ...pb.State) (*pb.Run, error) {
	if len(states) == 0 {
		states = finalStates
	}
	p := newPage(filter{states: states}, 1, nil)
	if err := s.listed(ctx, p, []string{id}); err != nil {
		return nil, err
	}
	if len(p.rows) == 0 {
		if err := s.watchListed(ctx, p, []string{id}); err != nil {
			return nil, err
		}
	}
	if len(p.rows) == 0 {
		return nil, fmt.Errorf("cannot wait for run %s: %w", id, context.Cause(ctx))
	}
	return record.Decode(p.rows[0].body)
}

var finalStates = []pb.State{pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT}

// waitFor holds one of the places for waits while watch runs. That its time was
// over is no error; that the caller's was is one.
func (s *Store) waitFor(ctx context.Context, p *page, watch func(context.Context) error) error {
	select {
	case s.waits <- struct{}{}:
		defer func() { <-s.waits }()
	default:
		return ErrBusy
	}
	err := watch(ctx)
	if err == nil && len(p.rows) == 0 {
		err = context.Cause(ctx)
	}
	return err
}

// entriesOf are runs as their records would be, by id.
func entriesOf(runs []*pb.Run) (map[string]kv.Entry, error) {
	entries := make(map[string]kv.Entry, len(runs))
	for _, run := range runs {
		body, err := pb.MarshalJSON(run)
		if err != nil {
			return nil, err
		}
		entries[run.GetId()] = kv.Entry{Key: run.GetId(), Body: body, Stored: run.GetCreated().AsTime()}
	}
	return entries, nil
}

// listed puts those of the runs that match in the page.
func (s *Store) listed(ctx context.Context, p *page, ids []string) error {
	found, err := s.getRuns(ctx, ids, p.waiting)
	if err != nil {
		return err
	}
	for _, e := range found {
		p.add(e)
	}
	return nil
}

// list scans the bucket for the page and returns the last revision it has seen.
func (s *Store) list(ctx context.Context, p *page) (uint64, error) {
	select {
	case s.scans <- struct{}{}:
		defer func() { <-s.scans }()
	default:
		return 0, ErrBusy
	}
	info, err := s.runs.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("cannot list runs: %w", err)
	}
	state := info.State
	if state.Msgs == 0 {
		return state.LastSeq, nil
	}
	from := s.nearEnd(p, state.FirstSeq, state.LastSeq, state.Msgs)
	var last uint64
	var done bool
	if s.index == nil || len(p.states) == 0 && p.Traits.None() || from <= state.FirstSeq {
		last, done, err = s.scanPage(ctx, p, from)
	}
	if err == nil && !done && from > state.FirstSeq && s.index != nil {
		last, done, err = s.listIndexed(ctx, p, info)
	}
	if err == nil && !done && from > state.FirstSeq {
		p.clear()
		done, err = s.pickPage(ctx, p, state.LastSeq)
	}
	if err == nil && !done && from > state.FirstSeq {
		// All over again, not just the rest: what changed meanwhile has moved to the end.
		p.clear()
		last, _, err = s.scanPage(ctx, p, state.FirstSeq)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot list runs: %w", err)
	}
	return max(last, state.LastSeq), nil
}

// maxPicked is how many records pickPage reads one by one.
const maxPicked = kv.ManyKeys

// pickPage fills the page where only a few records match: it finds their ids in
// the bare values and then reads those whole. It says no if it can't.
func (s *Store) pickPage(ctx context.Context, p *page, until uint64) (bool, error) {
	if !s.runs.Direct() || len(p.states) == 0 && p.Traits.None() {
		return false, nil
	}
	picked := make(map[string]struct{})
	if err := s.runs.Bodies(ctx, until, func(body []byte) bool {
		if seen, err := record.Peek(body, p.Traits); err == nil && p.matches(seen) && subjects.RunID(string(seen.ID)) == nil {
			picked[string(seen.ID)] = struct{}{}
		}
		return len(picked) <= maxPicked
	}); err != nil || len(picked) > maxPicked {
		return false, err
	}
	if len(picked) == 0 {
		return true, nil
	}
	have, err := s.runs.GetMany(ctx, slices.Collect(maps.Keys(picked)))
	for _, e := range have {
		p.add(e)
	}
	return err == nil, err
}

// nearEnd is a revision from which on there are about two pages of records, or
// as many beyond the page before.
func (s *Store) nearEnd(p *page, first, last, count uint64) uint64 {
	end := last
	if p.after != nil && p.after.rev < last {
		end = p.after.rev
	}
	want := uint64(2*p.limit + 64)
	// Changes leave holes: that many revisions for one that is kept.
	sparse := (last-first+1)/max(count, 1) + 1
	if want*sparse >= end || end-want*sparse <= first {
		return first
	}
	return end - want*sparse
}

// scanPage fills the page from a revision on. Enough says that nothing before
// that revision can stand in the page: it was stored earlier than the page's
// oldest was created.
func (s *Store) scanPage(ctx context.Context, p *page, from uint64) (last uint64, enough bool, err error) {
	var begin int64
	err = s.runs.Scan(ctx, from, func(e kv.Entry) {
		if last == 0 {
			begin = e.Stored.UnixNano()
		}
		last = e.Rev
		p.add(e)
	})
	return last, p.full() && p.rows[0].Time > begin, err
}

// maxReply is how many bytes of records fit in one reply.
func (s *Store) maxReply() int {
	return max(int(s.runs.Conn().MaxPayload())-replyRoom, maxRecord)
}

// unique keeps the first of each.
func unique(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}
