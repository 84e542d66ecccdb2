package client

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/subjects"
)

// Glance looks at one host. An error may come with a reply: what could be seen
// all the same.
func (c *Client) Glance(ctx context.Context, t Target, g *pb.Glance) (*pb.GlanceReply, error) {
	var reply pb.GlanceReply
	if err := t.single("GlanceAll"); err != nil {
		return &reply, err
	}
	err := c.link.One(ctx, t.wanted(), link.Question{Verb: subjects.Glance, Body: glanceRequest(g), Reply: &reply})
	return &reply, err
}

// GlanceAll looks at every host that is meant.
func (c *Client) GlanceAll(ctx context.Context, t Target, g *pb.Glance, opts FanOptions) (*FanResult[*pb.GlanceReply], error) {
	return Collect(FanOut(ctx, c, GlanceOf(t, g), opts))
}

// GlanceOf is the request for FanOut.
func GlanceOf(t Target, g *pb.Glance) Request[*pb.GlanceReply] {
	return Request[*pb.GlanceReply]{Verb: subjects.Glance, Target: t, Body: glanceRequest(g)}
}

func glanceRequest(g *pb.Glance) *pb.GlanceRequest {
	return &pb.GlanceRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.GlanceSpec{Glance: g}}
}
