package service

import (
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
)

func (s *Service) glance(r *Request) {
	var req pb.GlanceRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	reply, err := s.settings.Load().glancer.Glance(r.Context, req.GetSpec().GetGlance())
	if err != nil {
		reply.Code = proto.Int32(int32(codeOf(err)))
	}
	r.respond(reply, err)
}
