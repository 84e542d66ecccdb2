package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// Error is the body of every answer that is none.
type Error struct {
	status int
	Text   string `json:"error" doc:"what could not be done, and why"`
}

func (e *Error) Error() string { return e.Text }

// GetStatus is huma.StatusError.
func (e *Error) GetStatus() int { return e.status }

// GetHeaders is huma.HeadersError: who is one too many is told when to come again.
func (e *Error) GetHeaders() http.Header {
	if e.status == http.StatusTooManyRequests {
		return http.Header{"Retry-After": {"1"}}
	}
	return nil
}

func problem(status int, format string, args ...any) error {
	return &Error{status, fmt.Sprintf(format, args...)}
}

// useOurErrors gives huma's own refusals our form and words: what is wrong with a
// request is a 400.
var useOurErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if status == http.StatusUnprocessableEntity {
			status = http.StatusBadRequest
		}
		var texts []string
		for _, err := range errs {
			var detail *huma.ErrorDetail
			switch {
			case err == nil:
			case errors.As(err, &detail) && detail.Location != "":
				where := detail.Location
				for _, prefix := range []string{"body.", "query.", "path."} {
					where = strings.TrimPrefix(where, prefix)
				}
				texts = append(texts, where+": "+detail.Message)
			default:
				texts = append(texts, err.Error())
			}
		}
		if len(texts) > 0 {
			msg = "invalid request: " + strings.Join(texts, "; ")
		}
		return &Error{status, strings.ReplaceAll(msg, "\n", " ")}
	}
})

// refusal says what became of a request that failed: a code and words.
func refusal(err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	return &Error{codeOf(err), wordsOf(err)}
}

// codes of conditions that the client finds itself.
var codes = []struct {
	condition error
	code      int
}{
	{client.ErrInvalid, http.StatusBadRequest},
	{client.ErrOneOnly, http.StatusBadRequest},
	{client.ErrRefused, http.StatusForbidden},
	{client.ErrUnknownRun, http.StatusNotFound},
	{client.ErrUnknownRunner, http.StatusNotFound},
	{client.ErrUnknownJob, http.StatusNotFound},
	{client.ErrUnknownPipeline, http.StatusNotFound},
	{client.ErrUnknownSchedule, http.StatusNotFound},
	{client.ErrConflict, http.StatusConflict},
	{client.ErrLive, http.StatusConflict},
	{client.ErrScheduleChanged, http.StatusConflict},
	{client.ErrScheduleOwned, http.StatusConflict},
	{client.ErrNoRetry, http.StatusConflict},
	{client.ErrQueueFull, http.StatusTooManyRequests},
	{client.ErrOldServer, http.StatusNotImplemented},
	{client.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{client.ErrBusy, http.StatusTooManyRequests},
	{client.ErrNoAnswer, http.StatusGatewayTimeout},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
}

func codeOf(err error) int {
	if errors.Is(err, client.ErrFull) {
		return http.StatusTooManyRequests
	}
	if code := client.Code(err); code >= 400 && code < 600 {
		return code
	}
	var invalid *pb.InvalidError
	if errors.As(err, &invalid) {
		return http.StatusBadRequest
	}
	for _, c := range codes {
		if errors.Is(err, c.condition) {
			return c.code
		}
	}
	return http.StatusServiceUnavailable
}

// wordsOf is an error in the words of a request over HTTP: the fields of the
// wire's envelope are not in it.
func wordsOf(err error) string {
	text := err.Error()
	for _, envelope := range []string{"spec.task.", "spec.query.", "spec.glance.", "spec.maint.", "spec.pipeline.", "spec.abort."} {
		text = strings.ReplaceAll(text, envelope, "")
	}
	return text
}
