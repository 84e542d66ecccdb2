package service

import (
	"errors"
	"strings"
	"unicode"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/store"
)

// Codes of errors, HTTP-like.
const (
	codeBadRequest = 400
	codeRefused    = 403
	codeUnknown    = 404
	codeConflict   = 409
	codeTooLarge   = 413
	codeBusy       = 429
	codeInternal   = 500
	codeFull       = 503
)

// coded is an error whose code the handler knows itself.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }
func (c *coded) Code() int     { return c.code }

// CodeError gives an error a code of its own, for Endpoints of other packages.
func CodeError(code int, err error) error { return &coded{code, err} }

// codeOf is the one place where errors become codes.
func codeOf(err error) int {
	var (
		own    interface{ Code() int } // ours, a policy's refusal
		looked *glance.Error
		bad    *pb.InvalidError
	)
	switch {
	case errors.As(err, &own):
		return own.Code()
	case errors.As(err, &looked):
		return looked.Code
	case errors.As(err, &bad), errors.Is(err, store.ErrBadNext), errors.Is(err, run.ErrUnable):
		return codeBadRequest
	case errors.Is(err, store.ErrUnknownRun), errors.Is(err, store.ErrUnknownRunner):
		return codeUnknown
	case errors.Is(err, run.ErrConflict), errors.Is(err, store.ErrLive), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrExists):
		return codeConflict
	case errors.Is(err, store.ErrTooLarge):
		return codeTooLarge
	case errors.Is(err, store.ErrBusy):
		return codeBusy
	case errors.Is(err, run.ErrFull), errors.Is(err, run.ErrDraining), errors.Is(err, run.ErrNotHere):
		return codeFull
	}
	return codeInternal
}

// maxErrorBytes bounds an error's text: it may quote a megabyte of the request,
// and is in the reply twice.
const maxErrorBytes = 2 << 10

// oneLine is an error's text as a header can have it.
func oneLine(err error) string {
	text := err.Error()
	if len(text) > maxErrorBytes {
		text = text[:maxErrorBytes] + "…"
	}
	gap := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), gap), " ")
}
