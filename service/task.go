package service

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/subjects"
)

// admit takes a place in the order of arrival. What comes by an any scope was on
// its way before the runner could leave it, and is taken even if all are full.
func (s *Service) admit(r *Request) {
	r.ticket, r.admitErr = s.runner.Admit(r.Scope.IsAny())
}

// task answers with the run's record, and then is the goroutine that the run
// lives in.
func (s *Service) task(r *Request) {
	var req pb.TaskRequest
	err := r.Decode(&req)
	var sub run.Submission
	if err == nil {
		sub, err = s.submission(r, &req)
	}
	if err != nil {
		r.release() // before the answer: who asks again finds the place free
		r.Fail(err)
		return
	}
	r.body = nil // up to a megabyte, and the run may live for days
	accepted := func(run *pb.Run, err error) {
		if err != nil {
			r.Fail(err)
			return
		}
		r.run = run.GetId()
		r.Respond(&pb.TaskReply{Run: run, Service: s.status()})
	}
	if r.ticket != nil {
		s.runner.Go(r.ticket, sub, accepted)
		return
	}
	// No place; but the same request may have had one before.
	known, err := s.runner.Before(r.Context, sub)
	if err == nil || errors.Is(err, run.ErrConflict) {
		accepted(known, err)
		return
	}
	if err := s.runner.Check(req.GetSpec().GetTask()); err != nil {
		r.Fail(err) // to ask again later would be of no use
		return
	}
	r.Fail(r.admitErr)
}

// groups counts the requests that all of a fleet were sent and that name no group.
type groups struct {
	mu    sync.Mutex
	times map[[sha256.Size]byte]uint64 // how often the same was asked
}

// maxGroups bounds the count: what was asked long ago has a record, too.
const maxGroups = 1024

// next is how often the same was asked before.
func (g *groups) next(sum [sha256.Size]byte) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.times == nil || len(g.times) >= maxGroups {
		g.times = map[[sha256.Size]byte]uint64{}
	}
	g.times[sum]++
	return g.times[sum] - 1
}

// madeGroup is the group id of a request that names none. The runners that have
// heard it must come to the same one without a word, so it is made of what all
// of them were sent (most clients have a reply subject for each request) and of
// how often that was: who asks the same again means other runs.
func (s *Service) madeGroup(r *Request, sub run.Submission) string {
	same := sha256.Sum256([]byte(strings.Join([]string{r.subject, r.reply, r.Header(subjects.HeaderWhere), string(r.body)}, "\n")))
	for {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(same[:], s.groups.next(same)))
		sub.Group = groupEncoding.EncodeToString(sum[:16])
		_, err := s.runner.Known(r.Context, sub)
		if err != nil && !errors.Is(err, run.ErrConflict) {
			return sub.Group
		}
		// Asked in an earlier life of this runner.
	}
}

// groupEncoding makes 16 bytes the 26 characters of a run's id.
var groupEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func (s *Service) submission(r *Request, req *pb.TaskRequest) (run.Submission, error) {
	sub, err := run.NewSubmission(req, r.Header)
	if err != nil {
		return run.Submission{}, err
	}
	if sub.Group == "" && r.Scope.Many() {
		if sub.Group = req.GetMetadata().GetId(); sub.Group == "" {
			sub.Group = s.madeGroup(r, sub)
		}
	}
	return sub, s.runner.Hold(sub, s.holdToPolicy)
}

// holdToPolicy is the run.Policy of this moment.
func (s *Service) holdToPolicy(task *pb.Task) error {
	policy := s.settings.Load().policy
	if err := policy.CheckTask(task); err != nil {
		return err
	}
	if _, err := policy.ApplyTaskDefaults(task, s.runner.Holds); err != nil {
		return &coded{codeBadRequest, err}
	}
	return nil
}
