package service

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/subjects"
)

// admit takes a place in the order of arrival. What comes by an any scope was on
// its way before the runner could leave it, and is taken even if all are full.
func (s *Service) admit(r *endpoint.Request) endpoint.Handler {
	var ticket *run.Ticket
	var full error
	takePlace := func() {
		if ticket, full = s.runner.Admit(r.Scope.IsAny()); ticket != nil {
			r.Hold(ticket.Return)
		}
	}
	long := len(r.Body()) > shortRequestBytes
	if !long {
		takePlace()
	}
	return endpoint.Handle(func(ctx context.Context, r *endpoint.Request, req *pb.TaskRequest) (*pb.TaskReply, error) {
		sub, err := s.submission(ctx, r, req)
		if err != nil {
			return nil, err
		}
		if long {
			takePlace()
		}
		if ticket == nil {
			return s.taskAgain(ctx, r, sub, full)
		}
		s.task(r, ticket, sub)
		return nil, nil
	})
}

// shortRequestBytes is how long a request may be that takes its place as it comes.
// A longer one may carry a file that takes seconds to unpack, and takes its place
// once it has been read: many of them would keep all places from others.
const shortRequestBytes = 32 << 10

// task answers with the run's record, and then is the goroutine that the run
// lives in.
func (s *Service) task(r *endpoint.Request, ticket *run.Ticket, sub run.Submission) {
	r.Discard()
	r.HandOver()
	s.runner.Go(ticket, sub, func(run *pb.Run, err error) {
		r.Answer(s.accepted(r, run, err))
	})
}

// taskAgain answers a request without a place: the same one may have had one
// before.
func (s *Service) taskAgain(ctx context.Context, r *endpoint.Request, sub run.Submission, full error) (*pb.TaskReply, error) {
	known, err := s.runner.Before(ctx, sub)
	if err == nil || errors.Is(err, run.ErrConflict) {
		return s.accepted(r, known, err)
	}
	if err := s.runner.Check(sub.Request.GetSpec().GetTask()); err != nil {
		return nil, err // to ask again later would be of no use
	}
	return nil, full
}

func (s *Service) accepted(r *endpoint.Request, run *pb.Run, err error) (*pb.TaskReply, error) {
	if err != nil {
		return nil, err
	}
	r.Run = run.GetId()
	return &pb.TaskReply{Run: run, Service: s.status()}, nil
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
func (s *Service) madeGroup(ctx context.Context, r *endpoint.Request, sub run.Submission) string {
	same := sha256.Sum256([]byte(strings.Join([]string{r.Subject(), r.ReplyTo(), r.Header(subjects.HeaderWhere), string(r.Body())}, "\n")))
	for {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(same[:], s.groups.next(same)))
		sub.Group = groupEncoding.EncodeToString(sum[:16])
		_, err := s.runner.Known(ctx, sub)
		if err != nil && !errors.Is(err, run.ErrConflict) {
			return sub.Group
		}
		// Asked in an earlier life of this runner.
	}
}

// groupEncoding makes 16 bytes the 26 characters of a run's id.
var groupEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func (s *Service) submission(ctx context.Context, r *endpoint.Request, req *pb.TaskRequest) (run.Submission, error) {
	if err := req.GetSpec().GetTask().RefuseQueue(); err != nil {
		return run.Submission{}, err
	}
	sub, err := run.NewSubmission(req, r.Header)
	if err != nil {
		return run.Submission{}, err
	}
	if sub.Group == "" && r.Scope.Many() {
		if sub.Group = req.GetMetadata().GetId(); sub.Group == "" {
			sub.Group = s.madeGroup(ctx, r, sub)
		}
	}
	err = s.runner.Hold(&sub, s.runPolicy())
	return sub, err
}

// holdToPolicy is what the policy of this moment does to a task.
func (s *Service) holdToPolicy(task *pb.Task) error {
	policy := s.settings.Load().policy
	if err := policy.CheckTask(task); err != nil {
		return err
	}
	if _, err := policy.ApplyTaskDefaults(task, s.runner.Holds); err != nil {
		return endpoint.Coded(endpoint.CodeBadRequest, err)
	}
	return nil
}
