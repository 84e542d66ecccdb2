package service

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/subjects"
)

// Request is one request on its way through the table. It is answered once.
type Request struct {
	// Scope in which it was heard.
	Scope subjects.Scope
	// Context ends when the service stops.
	Context context.Context

	service  *Service
	endpoint *Endpoint
	counts   *counts
	subject  string
	reply    string
	header   nats.Header
	body     []byte

	came time.Time
	run  string // the id of the run it is about, if it is
	told bool   // the audit has its line

	// What admit found: a place, or why there is none.
	ticket   *run.Ticket
	admitErr error
}

// release gives back the place of a request that came to nothing.
func (r *Request) release() {
	if r.ticket != nil {
		r.ticket.Return()
	}
}

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

// Decode reads and validates the request.
func (r *Request) Decode(into pb.Request) error {
	return pb.DecodeRequest(r.body, r.isProtobuf(), into)
}

// Respond sends the reply.
func (r *Request) Respond(m proto.Message) {
	r.respond(m, nil)
}

// respond sends a reply that may carry an error as well.
func (r *Request) respond(m proto.Message, failed error) {
	body, err := pb.Encode(m, r.isProtobuf())
	if err != nil {
		r.Fail(fmt.Errorf("cannot encode the reply: %w", err))
		return
	}
	header := nats.Header{}
	if failed != nil {
		setError(header, failed)
	}
	r.setForm(header)
	reply := r.newReply(header, body)
	if size, limit := sizeOf(reply), r.service.nc.MaxPayload(); size > limit {
		r.Fail(&coded{codeTooLarge, fmt.Errorf("the reply has %d bytes and a message %d at most: %s", size, limit, r.endpoint.Smaller)})
		return
	}
	if failed != nil {
		r.counts.failed(failed)
	}
	r.answered(failed)
	r.publish(reply)
}

// sizeOf is what the server's payload limit is compared with: headers count.
func sizeOf(m *nats.Msg) int64 { return int64(m.Size() - len(m.Subject) - len(m.Reply)) }

// Fail sends an error: the headers that micro's clients read and a JSON body,
// because the nats CLI takes an empty one for the end of the replies.
func (r *Request) Fail(err error) {
	r.counts.failed(err)
	r.answered(err)
	body, encodeErr := pb.MarshalJSON(&pb.Error{Error: oneLine(err), Code: int32(codeOf(err))})
	if encodeErr != nil {
		return
	}
	header := nats.Header{}
	setError(header, err)
	header.Set(subjects.HeaderContentType, subjects.JSON)
	r.publish(r.newReply(header, body))
}

func setError(header nats.Header, err error) {
	header.Set(micro.ErrorHeader, oneLine(err))
	header.Set(micro.ErrorCodeHeader, strconv.Itoa(codeOf(err)))
}

func (r *Request) setForm(header nats.Header) {
	if r.isProtobuf() {
		header.Set(subjects.HeaderContentType, subjects.Protobuf)
	} else {
		header.Set(subjects.HeaderContentType, subjects.JSON)
	}
}

func (r *Request) newReply(header nats.Header, body []byte) *nats.Msg {
	header.Set(headerRunner, r.service.cfg.Name)
	header.Set(headerInstance, r.service.data.Instance)
	if trace := r.trace(); trace != "" {
		header.Set(headerTrace, trace)
	}
	return &nats.Msg{Subject: r.reply, Header: header, Data: body}
}

// publish replies by the connection, not by micro.Request, which races with
// micro's own bookkeeping once its handler has returned.
func (r *Request) publish(reply *nats.Msg) {
	if reply.Subject == "" {
		return // nobody asked to be told
	}
	if err := r.service.nc.PublishMsg(reply); err != nil {
		r.service.log.Warn("cannot reply", "subject", r.subject, "error", err)
	}
}

// trace is the request's trace context.
func (r *Request) trace() string { return run.Trace(r.Header) }

// Headers of every reply: who answers, and which life of it. The trace context
// (W3C) is given back as it came, and to the task as TRACEPARENT.
const (
	headerRunner   = "Runner-Name"
	headerInstance = "Runner-Instance"
	headerTrace    = run.HeaderTrace
)

// hear is what every request goes through before its handler.
func (r *Request) hear() {
	if err := r.checkReply(); err != nil {
		r.counts.failed(err)
		r.answered(err)
		return
	}
	matches, err := r.matches()
	if err != nil {
		r.Fail(err)
		return
	}
	if !matches {
		if strings.EqualFold(r.Header(subjects.HeaderAnswer), subjects.AnswerAlways) {
			r.publish(r.newReply(nats.Header{subjects.HeaderContentType: []string{subjects.JSON}},
				fmt.Appendf(nil, `{"runner":%q,"skipped":true}`, r.service.cfg.Name)))
		}
		return
	}
	if err := r.service.settings.Load().policy.CheckVerb(string(r.endpoint.Verb)); err != nil {
		r.Fail(err)
		return
	}
	r.endpoint.Handle(r)
}

// checkReply refuses reply subjects that are no inbox. The runner may publish
// where the caller perhaps may not, and an answer there would be an
// acknowledgement, a run's record or a message of its log. Nobody is told.
func (r *Request) checkReply() error {
	switch {
	case strings.HasPrefix(r.reply, "$JS.ACK."):
		return &coded{codeBadRequest, fmt.Errorf("a JetStream consumer delivers to %s", r.subject)}
	case strings.HasPrefix(r.reply, "$"), strings.HasPrefix(r.reply, r.service.space.Prefix()+"."):
		return &coded{codeBadRequest, fmt.Errorf("the reply subject %s is no inbox", r.reply)}
	}
	return nil
}

// matches applies Runner-Where.
func (r *Request) matches() (bool, error) {
	where := r.Header(subjects.HeaderWhere)
	if where == "" && !r.hasHeader(subjects.HeaderWhere) {
		return true, nil
	}
	selector, err := r.service.selectors.compile(where)
	if err != nil {
		return false, &coded{codeBadRequest, fmt.Errorf("%s: %w", subjects.HeaderWhere, err)}
	}
	if !r.Scope.Many() {
		return false, &coded{codeBadRequest, fmt.Errorf("%s narrows all scopes only: ask %s", subjects.HeaderWhere, r.service.space.Request(r.endpoint.Verb, subjects.All))}
	}
	matches, err := selector.Match(r.service.presence.Card())
	if err != nil {
		return false, &coded{codeBadRequest, fmt.Errorf("%s: %w", subjects.HeaderWhere, err)}
	}
	return matches, nil
}

// guard turns a panic into an error: a request can't stop the process.
func (r *Request) guard() {
	if p := recover(); p != nil {
		r.service.log.Error("a request made its handler panic", "subject", r.subject, "panic", p, "stack", string(debug.Stack()))
		r.Fail(fmt.Errorf("internal error: the runner's log says more"))
	}
}
