package client

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Glance looks at one host. An error may come with a reply: what could be seen
// all the same.
func (c *Client) Glance(ctx context.Context, t Target, g *pb.Glance) (*pb.GlanceReply, error) {
	var reply pb.GlanceReply
	err := c.one(ctx, subjects.Glance, t, glanceRequest(g), &reply)
	return &reply, err
}

// GlanceAll looks at every host that is meant. The replies in the result's
// Answers are *pb.GlanceReply.
func (c *Client) GlanceAll(ctx context.Context, t Target, g *pb.Glance, opts FanOptions) (*FanResult, error) {
	t.All = true
	return c.FanOut(ctx, subjects.Glance, t, glanceRequest(g), blankGlance, opts)
}

func glanceRequest(g *pb.Glance) *pb.GlanceRequest {
	return &pb.GlanceRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.GlanceSpec{Glance: g}}
}
