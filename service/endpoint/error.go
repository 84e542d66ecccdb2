package endpoint

import (
	"errors"
	"strings"
	"unicode"

	"github.com/runnel-io/runnel/pb"
)

// Codes of errors, HTTP-like.
const (
	CodeBadRequest = 400
	CodeRefused    = 403
	CodeUnknown    = 404
	CodeTooLate    = 408
	CodeConflict   = 409
	CodeTooLarge   = 413
	CodeBusy       = 429
	CodeInternal   = 500
	CodeUnable     = 501
	CodeFull       = 503
)

// coded is an error whose code the handler knows itself.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }
func (c *coded) Code() int     { return c.code }

// Coded gives an error a code.
func Coded(code int, err error) error { return &coded{code, err} }

// codeOf is an error's own code, or the one that Config.Code knows.
func (s *Server) codeOf(err error) int {
	var (
		own interface{ Code() int } // ours, a policy's refusal
		bad *pb.InvalidError
	)
	switch {
	case errors.As(err, &own):
		return own.Code()
	case errors.As(err, &bad):
		return CodeBadRequest
	}
	if code := s.cfg.Code(err); code != 0 {
		return code
	}
	return CodeInternal
}

// maxErrorBytes bounds an error's text: it may quote a megabyte of the request,
// and is in the reply twice.
const maxErrorBytes = 2 << 10

// Text is an error's text as a header can have it: one line of bounded length.
func Text(err error) string {
	text := err.Error()
	if len(text) > maxErrorBytes {
		text = text[:maxErrorBytes] + "…"
	}
	gap := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), gap), " ")
}
