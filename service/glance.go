package service

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
)

func (s *Service) glance(ctx context.Context, r *endpoint.Request, req *pb.GlanceRequest) (*pb.GlanceReply, error) {
	reply, err := s.settings.Load().glancer.Glance(ctx, req.GetSpec().GetGlance())
	if err != nil {
		reply.Code = proto.Int32(int32(r.Code(err)))
	}
	return reply, err
}
