package service

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
)

// maint answers with what is known, also beside an error.
func (s *Service) maint(ctx context.Context, r *endpoint.Request, req *pb.MaintRequest) (*pb.MaintReply, error) {
	reply, err := s.settings.Load().keeper.Maint(ctx, req.GetSpec().GetMaint())
	reply.Runner = s.cfg.Name
	if err != nil {
		reply.Code = proto.Int32(int32(r.Code(err)))
	}
	return reply, err
}
