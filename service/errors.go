package service

import (
	"errors"

	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/maint"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
)

// codeOf is the one place where the errors of other packages become codes.
func codeOf(err error) int {
	var looked *glance.Error
	switch {
	case errors.As(err, &looked):
		return looked.Code
	case errors.Is(err, store.ErrBadNext), errors.Is(err, run.ErrUnable), errors.Is(err, maint.ErrInvalidTime):
		return endpoint.CodeBadRequest
	case errors.Is(err, maint.ErrRefused):
		return endpoint.CodeRefused
	case errors.Is(err, store.ErrUnknownRun), errors.Is(err, store.ErrUnknownRunner), errors.Is(err, schedule.ErrUnknown):
		return endpoint.CodeUnknown
	case errors.Is(err, run.ErrConflict), errors.Is(err, store.ErrLive), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrExists),
		errors.Is(err, store.ErrRemoved), errors.Is(err, run.ErrLogKept), errors.Is(err, schedule.ErrChanged), errors.Is(err, schedule.ErrOwned):
		return endpoint.CodeConflict
	case errors.Is(err, store.ErrTooLarge):
		return endpoint.CodeTooLarge
	case errors.Is(err, stream.ErrOldServer):
		return endpoint.CodeUnable
	case errors.Is(err, store.ErrBusy):
		return endpoint.CodeBusy
	case errors.Is(err, run.ErrFull), errors.Is(err, run.ErrDraining), errors.Is(err, run.ErrNotHere), errors.Is(err, maint.ErrBusy), errors.Is(err, maint.ErrNoServer), errors.Is(err, maint.ErrNoMajority):
		return endpoint.CodeFull
	}
	return 0
}
