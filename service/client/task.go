package client

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/subjects"
)

// Start asks one runner to run a task and returns as soon as it is accepted.
// Without an id in the request it makes one, so that asking again after a lost
// reply never starts a second run.
func (c *Client) Start(ctx context.Context, t Target, req *pb.TaskRequest) (*pb.Run, error) {
	req = withID(req)
	var reply pb.TaskReply
	err := c.one(ctx, subjects.Task, t, req, &reply)
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

// Run starts a task and follows it to its end: each is called for every record
// of the output, in order, the last one included. accepted, which may be nil,
// is told of the run before its first line.
func (c *Client) Run(ctx context.Context, t Target, req *pb.TaskRequest, accepted func(*pb.Run), each func(lines.Record) error) (logs.FollowResult, error) {
	if err := t.Validate(); err != nil {
		return logs.FollowResult{}, err
	}
	req = withID(req)
	// Subscribed before the request is sent, so that no line is missed and no
	// consumer is needed.
	fresh, err := logs.Listen(c.nc, c.freshSubject(t, req.GetMetadata().GetId()))
	if err != nil {
		return logs.FollowResult{}, err
	}
	run, err := c.Start(ctx, t, req)
	if err != nil {
		fresh.Close()
		return logs.FollowResult{}, err
	}
	if accepted != nil {
		accepted(run)
	}
	return c.follow(ctx, run, FollowOptions{Live: true}, fresh, each)
}

// freshSubject is where the output of a run will be. A runner that was named
// saves the server a wildcard, for which it looks through all it has cached
// when the subscription ends.
func (c *Client) freshSubject(t Target, id string) string {
	if t.On != "" {
		return c.space.Log(t.On, id)
	}
	return c.space.LogAny(id)
}
