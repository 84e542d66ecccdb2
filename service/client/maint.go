package client

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Maint compares, and if asked sets, one host's clock. An error may come with a
// reply: what was found all the same.
func (c *Client) Maint(ctx context.Context, t Target, m *pb.Maint) (*pb.MaintReply, error) {
	var reply pb.MaintReply
	err := c.one(ctx, subjects.Maint, t, maintRequest(m), &reply)
	return &reply, err
}

// MaintAll asks every host that is meant. The replies in the result's Answers
// are *pb.MaintReply.
func (c *Client) MaintAll(ctx context.Context, t Target, m *pb.Maint, opts FanOptions) (*FanResult, error) {
	t.All = true
	return c.FanOut(ctx, subjects.Maint, t, maintRequest(m), blankMaint, opts)
}

func maintRequest(m *pb.Maint) *pb.MaintRequest {
	return &pb.MaintRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.MaintSpec{Maint: m}}
}
