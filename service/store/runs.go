package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
	"github.com/runnel-io/runnel/subjects"
)

const (
	// maxRecord bounds a record's JSON, bytes: 32 tags of 256 and 256 are 16 KiB.
	maxRecord = 24 << 10
	// endRoom of it is left free at first, for what the end adds: a final record
	// must never be refused.
	endRoom = 1 << 10
)

// Create claims run.Id by writing the first record: it succeeds once for as
// long as the record is kept, however many runners try. It returns the record's
// revision. Errors: ErrExists, ErrRemoved, ErrTooLarge, ErrIllegalMove.
func (s *Store) Create(ctx context.Context, run *pb.Run) (uint64, error) {
	if !canBegin(run.GetState()) {
		return 0, fmt.Errorf("cannot create run %s: %w: it can't begin as %s", run.GetId(), ErrIllegalMove, run.GetState())
	}
	if err := subjects.RunID(run.GetId()); err != nil {
		return 0, fmt.Errorf("cannot create run: id %w", err)
	}
	w, err := s.writeOf(run)
	if err != nil {
		return 0, fmt.Errorf("cannot create run %s: %w", run.GetId(), err)
	}
	if !Final(run.GetState()) && len(w.Body) > maxRecord-endRoom {
		return 0, fmt.Errorf("cannot create run %s: %w", run.GetId(), ErrTooLarge)
	}
	w.Create, w.Unremoved = true, true
	rev, err := s.runs.Put(ctx, w)
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) && conflict.Gone && s.removedLongAgo(ctx, conflict.Now) {
		w.Unremoved = false
		rev, err = s.runs.Put(ctx, w)
	}
	if errors.As(err, &conflict) {
		err = ErrExists
		if conflict.Gone {
			err = ErrRemoved
		}
	}
	if err != nil {
		return 0, fmt.Errorf("cannot create run %s: %w", run.GetId(), err)
	}
	s.remember(run, rev)
	return rev, nil
}

// removedLongAgo is for markers that were made by others, and stay for ever.
func (s *Store) removedLongAgo(ctx context.Context, marker kv.Entry) bool {
	now, err := s.ServerTime(ctx)
	return err == nil && now.Sub(marker.Stored) > RemovedFor
}

// Update replaces the record at revision rev and returns the new revision. It
// tries until ctx ends, through reconnects and changes of leader. Errors:
// ErrFinal, ErrConflict, ErrIllegalMove, ErrUnknownRun, ErrTooLarge.
func (s *Store) Update(ctx context.Context, run *pb.Run, rev uint64) (uint64, error) {
	next, err := s.update(ctx, run, rev)
	if err != nil {
		s.forget(run.GetId())
		if errors.Is(err, ErrUnknownRun) {
			return 0, err
		}
		return 0, fmt.Errorf("cannot update run %s: %w", run.GetId(), err)
	}
	s.remember(run, next)
	return next, nil
}

func (s *Store) update(ctx context.Context, run *pb.Run, rev uint64) (uint64, error) {
	from, err := s.stateAt(ctx, run.GetId(), rev)
	if err != nil {
		return 0, err
	}
	if !CanMove(from, run.GetState()) {
		return 0, fmt.Errorf("%w: from %s to %s", ErrIllegalMove, from, run.GetState())
	}
	w, err := s.writeOf(run)
	if err != nil {
		return 0, err
	}
	w.Expect = rev
	next, err := s.runs.Put(ctx, w)
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		if conflict.Gone {
			return 0, unknown(run.GetId())
		}
		return 0, refusal(conflict.Now)
	}
	return next, err
}

// Get reads a record and its revision. Error: ErrUnknownRun.
func (s *Store) Get(ctx context.Context, id string) (*pb.Run, uint64, error) {
	e, err := s.getRun(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	run, err := record.Decode(e.Body)
	return run, e.Rev, err
}

// Remove removes a final run's output and then its record, and leaves a marker
// that keeps its id from being used again for RemovedFor. If the record may not
// be removed, the output stays as well. Errors: ErrLive, ErrUnknownRun,
// ErrConflict.
func (s *Store) Remove(ctx context.Context, id string) error {
	return s.remove(ctx, id, RemovedFor)
}

func (s *Store) remove(ctx context.Context, id string, marker time.Duration) error {
	run, rev, err := s.getLatest(ctx, id)
	if err != nil {
		return err
	}
	if !Final(run.GetState()) {
		return fmt.Errorf("cannot remove run %s: %w: it is %s", id, ErrLive, run.GetState())
	}
	if rev, err = s.touch(ctx, run, rev); err != nil {
		return fmt.Errorf("cannot remove run %s: %w", id, err)
	}
	if s.cfg.PurgeLog != nil {
		if err := s.cfg.PurgeLog(ctx, run); err != nil {
			return fmt.Errorf("cannot remove output of run %s: %w", id, err)
		}
	}
	if err := s.runs.Delete(ctx, id, rev, marker); err != nil {
		var conflict *kv.ConflictError
		if errors.As(err, &conflict) {
			err = fmt.Errorf("%w: %w", ErrConflict, err)
		}
		return fmt.Errorf("cannot remove run %s: %w", id, err)
	}
	return nil
}

// touch writes a final record again as it is: whether one may write it is known
// by doing so alone, and must be known before its output is gone.
func (s *Store) touch(ctx context.Context, run *pb.Run, rev uint64) (uint64, error) {
	w, err := s.writeOf(run)
	if err != nil {
		return 0, err
	}
	w.Expect = rev
	rev, err = s.runs.Put(ctx, w)
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) && conflict.Gone {
		return 0, unknown(run.GetId())
	} else if conflict != nil {
		return 0, ErrConflict
	}
	return rev, err
}

// getLatest is Get that no replica can answer with what was before.
func (s *Store) getLatest(ctx context.Context, id string) (*pb.Run, uint64, error) {
	if subjects.RunID(id) != nil {
		return nil, 0, unknown(id)
	}
	e, err := s.runs.GetLeader(ctx, id)
	if errors.Is(err, kv.ErrNoKey) {
		return nil, 0, unknown(id)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read run %s: %w", id, err)
	}
	run, err := record.Decode(e.Body)
	return run, e.Rev, err
}

func (s *Store) getRun(ctx context.Context, id string) (kv.Entry, error) {
	if subjects.RunID(id) != nil {
		return kv.Entry{}, unknown(id)
	}
	e, err := s.runs.Get(ctx, id)
	if errors.Is(err, kv.ErrNoKey) {
		return kv.Entry{}, unknown(id)
	}
	if err != nil {
		return kv.Entry{}, fmt.Errorf("cannot read run %s: %w", id, err)
	}
	return e, nil
}

// stateAt is the state of a record at a revision that is still its last.
func (s *Store) stateAt(ctx context.Context, id string, rev uint64) (pb.State, error) {
	s.mu.Lock()
	m, ok := s.marks[id]
	s.mu.Unlock()
	if ok && m.rev == rev {
		return m.state, nil
	}
	if subjects.RunID(id) != nil {
		return 0, unknown(id)
	}
	e, err := s.runs.GetLeader(ctx, id)
	switch {
	case errors.Is(err, kv.ErrNoKey):
		return 0, unknown(id)
	case err != nil:
		return 0, err
	case e.Rev != rev:
		return 0, refusal(e)
	}
	p, err := record.Peek(e.Body, record.Traits{})
	if err == nil && Final(p.State) {
		err = ErrFinal
	}
	return p.State, err
}

// refusal says why a record can't be written over.
func refusal(now kv.Entry) error {
	if p, err := record.Peek(now.Body, record.Traits{}); err == nil && Final(p.State) {
		return ErrFinal
	}
	return ErrConflict
}

func (s *Store) remember(run *pb.Run, rev uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if Final(run.GetState()) {
		delete(s.marks, run.GetId())
		if s.index != nil {
			s.index.HasEnded()
		}
		return
	}
	s.marks[run.GetId()] = mark{rev, run.GetState()}
}

func (s *Store) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.marks, id)
}

// writeOf makes the write of a record: a final one is kept for the retention only.
func (s *Store) writeOf(run *pb.Run) (kv.Write, error) {
	body, err := encode(run)
	w := kv.Write{Key: run.GetId(), Body: body}
	if Final(run.GetState()) {
		w.TTL = s.cfg.Retention
	}
	return w, err
}

// encode gives a record's JSON. If that would be too large, the text of the
// error is cut; nothing else may be.
func encode(run *pb.Run) ([]byte, error) {
	body, err := pb.MarshalJSON(run)
	if err != nil || len(body) <= maxRecord {
		return body, err
	}
	short := proto.Clone(run).(*pb.Run)
	for keep := len(run.GetError()) / 2; ; keep /= 2 {
		// Halves, because a byte of text can take up to six of JSON.
		short.Error = strings.ToValidUTF8(run.GetError()[:keep], "") + "…"
		if body, err = pb.MarshalJSON(short); err != nil || len(body) <= maxRecord {
			return body, err
		}
		if keep == 0 {
			return nil, ErrTooLarge
		}
	}
}

func unknown(id string) error { return fmt.Errorf("%w %s", ErrUnknownRun, id) }
