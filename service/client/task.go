package client

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/subjects"
)

// Start asks one runner to run a task and returns as soon as it is accepted.
// Without an id in the request it makes one, so that asking again after a lost
// reply never starts a second run. The target can't mean all runners.
func (c *Client) Start(ctx context.Context, t Target, req *pb.TaskRequest) (*pb.Run, error) {
	if err := t.single("FanOut or RunAll"); err != nil {
		return nil, err
	}
	req = withID(req)
	var reply pb.TaskReply
	err := c.link.One(ctx, t.wanted(), link.Question{Verb: subjects.Task, Body: req, Reply: &reply})
	if errors.Is(err, ErrNoAnswer) {
		// Perhaps only the reply was lost: the same id finds the run.
		if run, statusErr := c.Status(ctx, req.GetMetadata().GetId()); statusErr == nil {
			return run, nil
		}
	}
	return reply.GetRun(), err
}

// withID returns the request with envelope and id filled in; the caller's stays as it is.
func withID(req *pb.TaskRequest) *pb.TaskRequest {
	req = proto.CloneOf(req)
	if req.GetKind() == "" {
		req.Kind = pb.Kind
	}
	if req.GetMetadata().GetId() == "" {
		if req.Metadata == nil {
			req.Metadata = &pb.Metadata{}
		}
		req.Metadata.Id = ulid.Make().String()
	}
	return req
}

// Run starts a task on one runner and follows it to its end. The target can't
// mean all runners: see RunAll.
func (c *Client) Run(ctx context.Context, t Target, req *pb.TaskRequest, events RunEvents) (Outcome, error) {
	outcome, err := c.run(ctx, t, withID(req), events)
	outcome.Err = err
	if err == nil {
		events.ended(outcome)
	}
	return outcome, err
}

func (c *Client) run(ctx context.Context, t Target, req *pb.TaskRequest, events RunEvents) (outcome Outcome, err error) {
	if err := t.single("RunAll"); err != nil {
		return outcome, err
	}
	// Subscribed before the request is sent, so that no line is missed and no
	// consumer is needed.
	fresh, err := logs.Listen(c.link.NC, c.freshSubject(t, req.GetMetadata().GetId()))
	if err != nil {
		return outcome, err
	}
	outcome.Run, err = c.Start(ctx, t, req)
	if err != nil {
		fresh.Close()
		return outcome, err
	}
	events.accepted(outcome.Run)
	outcome.Log, err = c.Follow(ctx, outcome.Run, FollowOptions{Live: true, fresh: fresh}, events.record(outcome.Run))
	return outcome, err
}

// freshSubject is where the output of a run will be. A runner that was named
// saves the server a wildcard, for which it looks through all it has cached
// when the subscription ends.
func (c *Client) freshSubject(t Target, id string) string {
	if t.On != "" {
		return c.link.Space.Log(t.On, id)
	}
	return c.link.Space.LogAny(id)
}

// TaskOf is the request for FanOut that starts a task everywhere and follows
// none: with an id that all runs share as their group.
func TaskOf(t Target, req *pb.TaskRequest) Request[*pb.TaskReply] {
	return Request[*pb.TaskReply]{Verb: subjects.Task, Target: t, Body: withID(req)}
}
