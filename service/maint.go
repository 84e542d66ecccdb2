package service

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/maint"
)

// maint answers with what is known, also beside an error.
func (s *Service) maint(r *Request) {
	var req pb.MaintRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	reply, err := s.settings.Load().keeper.Maint(r.Context, req.GetSpec().GetMaint())
	reply.Runner = s.cfg.Name
	if err = withMaintCode(err); err != nil {
		reply.Code = proto.Int32(int32(codeOf(err)))
	}
	r.respond(reply, err)
}

func withMaintCode(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, maint.ErrInvalidTime):
		return &coded{codeBadRequest, err}
	case errors.Is(err, maint.ErrRefused):
		return &coded{codeRefused, err}
	case errors.Is(err, maint.ErrBusy), errors.Is(err, maint.ErrNoServer):
		return &coded{codeFull, err}
	}
	return err
}
