package endpoint

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Request is one request on its way through the table. It is answered once.
type Request struct {
	// Scope in which it was heard.
	Scope subjects.Scope
	// Run is the id of the run that the request is about, for the audit log.
	Run string

	server  *Server
	row     *Row
	counts  *counts
	subject string
	reply   string
	header  nats.Header
	body    []byte

	came     time.Time
	answered atomic.Bool
	release  func() // gives back what Arrive took
}

// Subject that the request came on.
func (r *Request) Subject() string { return r.subject }

// ReplyTo is the subject that its reply goes to.
func (r *Request) ReplyTo() string { return r.reply }

// Body is the request as it came; nil after Discard.
func (r *Request) Body() []byte { return r.body }

// Discard lets go of the body, up to a megabyte, for a handler that lives long.
func (r *Request) Discard() { r.body = nil }

// Hold says that Arrive has taken a place for the request, of which there is a
// bounded number. giveBack is called before an error is sent, so that a caller
// that asks again finds the place free, and when the request is over.
func (r *Request) Hold(giveBack func()) { r.release = giveBack }

// HandOver says that another gives back the place from now on.
func (r *Request) HandOver() { r.release = nil }

// Code is the code that an error has in a reply.
func (r *Request) Code(err error) int { return r.server.codeOf(err) }

// Header returns a header's first value, whatever the case of its name: other
// languages' clients write their own.
func (r *Request) Header(name string) string {
	if v := r.header.Get(name); v != "" {
		return v
	}
	for k, values := range r.header {
		if strings.EqualFold(k, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// hasHeader also says so of an empty one.
func (r *Request) hasHeader(name string) bool {
	for k := range r.header {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}

// isProtobuf says in which form the request came and its reply goes.
func (r *Request) isProtobuf() bool {
	kind, _, _ := strings.Cut(r.Header(subjects.HeaderContentType), ";")
	return strings.EqualFold(strings.TrimSpace(kind), subjects.Protobuf)
}

func (r *Request) decode(into pb.Request) error {
	return pb.DecodeRequest(r.body, r.isProtobuf(), into)
}

// Trace is the request's trace context (W3C), "" where it is none: it goes into
// the reply, the record and a variable of the task.
func (r *Request) Trace() string { return subjects.Trace(r.Header(subjects.HeaderTrace)) }

// arrive is the handler of the request; nil if it has been answered.
func (r *Request) arrive() Handler {
	if r.row.Arrive == nil {
		return r.row.Handle
	}
	defer r.guard()
	return r.row.Arrive(r)
}

// serve is what every request goes through before its handler.
func (r *Request) serve(handle Handler) {
	defer r.giveBack()
	defer r.guard()
	if r.server.ctx.Err() != nil {
		r.Answer(nil, Coded(CodeFull, ErrStopping))
		return
	}
	if err := r.checkDeadline(); err != nil {
		r.Answer(nil, err)
		return
	}
	matches, err := r.matches()
	switch {
	case err != nil:
		r.Answer(nil, err)
		return
	case !matches:
		r.skip()
		return
	}
	if err := r.server.cfg.Allow(r.row.Verb); err != nil {
		r.Answer(nil, err)
		return
	}
	if reply, err := handle(r.server.ctx, r); err != nil || isReply(reply) {
		r.Answer(reply, err)
	}
}

// guard turns a panic into an error.
func (r *Request) guard() {
	if p := recover(); p != nil {
		r.server.log.Error("a request made its handler panic", "subject", r.subject, "panic", p, "stack", string(debug.Stack()))
		r.Answer(nil, errors.New("internal error: the runner's log says more"))
	}
}

func (r *Request) giveBack() {
	if r.release != nil {
		r.release()
	}
}

// lateness is how far past its deadline a request may come.
const lateness = time.Second

// checkDeadline refuses what its caller has stopped waiting for: the runner was
// stopped or cut off, or had much to do. Where the server's time can't be had the
// request counts as in time.
func (r *Request) checkDeadline() error {
	text := r.Header(subjects.HeaderDeadline)
	if text == "" {
		return nil
	}
	deadline, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return Coded(CodeBadRequest, fmt.Errorf("%s: %q is not a time such as 2026-11-26T09:00:00.5Z", subjects.HeaderDeadline, text))
	}
	now, _, err := r.server.cfg.ServerTime(r.server.ctx)
	if late := now.Sub(deadline); err == nil && late > lateness {
		return Coded(CodeTooLate, fmt.Errorf("asked too late: it is %s past the caller's deadline; nothing was done, ask again", late.Round(time.Millisecond)))
	}
	return nil
}

// matches applies Runner-Where.
func (r *Request) matches() (bool, error) {
	where := r.Header(subjects.HeaderWhere)
	if where == "" && !r.hasHeader(subjects.HeaderWhere) {
		return true, nil
	}
	matches, err := r.server.cfg.Matches(where)
	if err != nil {
		return false, Coded(CodeBadRequest, fmt.Errorf("%s: %w", subjects.HeaderWhere, err))
	}
	if !r.Scope.Many() {
		return false, Coded(CodeBadRequest, fmt.Errorf("%s narrows all scopes only: ask %s", subjects.HeaderWhere, r.server.cfg.Space.Request(r.row.Verb, subjects.All)))
	}
	return matches, nil
}
