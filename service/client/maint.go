package client

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/subjects"
)

// Maint compares, and if asked sets, one host's clock. An error may come with a
// reply: what was found all the same.
func (c *Client) Maint(ctx context.Context, t Target, m *pb.Maint) (*pb.MaintReply, error) {
	var reply pb.MaintReply
	if err := t.single("MaintAll or ClockAll"); err != nil {
		return &reply, err
	}
	err := c.link.One(ctx, t.wanted(), link.Question{Verb: subjects.Maint, Body: maintRequest(m), Reply: &reply})
	return &reply, err
}

// MaintAll asks every host that is meant.
func (c *Client) MaintAll(ctx context.Context, t Target, m *pb.Maint, opts FanOptions) (*FanResult[*pb.MaintReply], error) {
	return Collect(FanOut(ctx, c, MaintOf(t, m), opts))
}

// MaintOf is the request for FanOut.
func MaintOf(t Target, m *pb.Maint) Request[*pb.MaintReply] {
	return Request[*pb.MaintReply]{Verb: subjects.Maint, Target: t, Body: maintRequest(m)}
}

func maintRequest(m *pb.Maint) *pb.MaintRequest {
	return &pb.MaintRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.MaintSpec{Maint: m}}
}
