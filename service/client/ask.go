package client

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// kinds of empty replies, for FanOut.
func blankTask() pb.Message   { return &pb.TaskReply{} }
func blankGlance() pb.Message { return &pb.GlanceReply{} }
func blankMaint() pb.Message  { return &pb.MaintReply{} }

// one asks a single runner of a target. Where picks among the online cards that
// match, those with free places first; one that is full or gone is passed over.
func (c *Client) one(ctx context.Context, verb subjects.Verb, t Target, req pb.Request, reply pb.Message) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if t.Where == "" {
		return c.call(ctx, verb, t.scope(), req, reply)
	}
	in, _, err := c.matching(ctx, t)
	if err != nil {
		return err
	}
	if len(in) == 0 {
		return noMatch(t)
	}
	for _, r := range freeFirst(in) {
		err := c.call(ctx, verb, subjects.At(r.Card.GetName()), req, reply)
		if err == nil || !passOver(err) {
			return err
		}
	}
	return ErrNoRunners
}
