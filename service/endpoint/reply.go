package endpoint

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// isReply is false for a nil message, typed or not.
func isReply(m proto.Message) bool { return m != nil && m.ProtoReflect().IsValid() }

// Answer sends the reply, once. A handler that lives on after it calls it
// itself; otherwise it is called with what the handler returns.
func (r *Request) Answer(reply proto.Message, failed error) {
	if r.answered.Swap(true) {
		return
	}
	if failed != nil {
		r.giveBack()
	}
	msg := r.encode(reply, &failed)
	r.account(failed)
	if msg != nil {
		r.publish(msg)
	}
}

// encode makes the reply's message, or that of the error which comes of trying.
func (r *Request) encode(reply proto.Message, failed *error) *nats.Msg {
	if !isReply(reply) {
		return r.errorReply(*failed)
	}
	body, err := pb.Encode(reply, r.isProtobuf())
	if err != nil {
		*failed = fmt.Errorf("cannot encode the reply: %w", err)
		return r.errorReply(*failed)
	}
	header := nats.Header{}
	if *failed != nil {
		r.server.setError(header, *failed)
	}
	if r.isProtobuf() {
		header.Set(subjects.HeaderContentType, subjects.Protobuf)
	} else {
		header.Set(subjects.HeaderContentType, subjects.JSON)
	}
	msg := r.newReply(header, body)
	if size, limit := sizeOf(msg), r.server.cfg.Conn.MaxPayload(); size > limit {
		*failed = Coded(CodeTooLarge, fmt.Errorf("the reply has %d bytes and a message %d at most: %s", size, limit, r.row.Smaller))
		return r.errorReply(*failed)
	}
	return msg
}

// sizeOf is what the server's payload limit is compared with: headers count.
func sizeOf(m *nats.Msg) int64 { return int64(m.Size() - len(m.Subject) - len(m.Reply)) }

// errorReply has the headers that micro's clients read and a JSON body, because
// the nats CLI takes an empty one for the end of the replies.
func (r *Request) errorReply(err error) *nats.Msg {
	body, encodeErr := pb.MarshalJSON(&pb.Error{Error: Text(err), Code: int32(r.server.codeOf(err))})
	if encodeErr != nil {
		return nil
	}
	header := nats.Header{}
	r.server.setError(header, err)
	header.Set(subjects.HeaderContentType, subjects.JSON)
	return r.newReply(header, body)
}

func (s *Server) setError(header nats.Header, err error) {
	header.Set(micro.ErrorHeader, Text(err))
	header.Set(micro.ErrorCodeHeader, strconv.Itoa(s.codeOf(err)))
}

// skip is the answer of a runner that Runner-Where leaves out, if one is wanted.
func (r *Request) skip() {
	if strings.EqualFold(r.Header(subjects.HeaderAnswer), subjects.AnswerAlways) {
		r.publish(r.newReply(nats.Header{subjects.HeaderContentType: []string{subjects.JSON}},
			fmt.Appendf(nil, `{"runner":%q,"skipped":true}`, r.server.cfg.Runner)))
	}
}

func (r *Request) newReply(header nats.Header, body []byte) *nats.Msg {
	header.Set(subjects.HeaderRunner, r.server.cfg.Runner)
	header.Set(subjects.HeaderInstance, r.server.cfg.Instance)
	if trace := r.Trace(); trace != "" {
		header.Set(subjects.HeaderTrace, trace)
	}
	return &nats.Msg{Subject: r.reply, Header: header, Data: body}
}

func (r *Request) publish(reply *nats.Msg) {
	if reply.Subject == "" {
		return // nobody asked to be told
	}
	if err := r.server.cfg.Conn.PublishMsg(reply); err != nil {
		r.server.log.Warn("cannot reply", "subject", r.subject, "error", err)
	}
}

// refuseReply leaves a request alone whose reply subject is no inbox. The runner may
// publish where the caller perhaps may not, and an answer there would be an
// acknowledgement, a run's record or a message of its log. Nobody is told.
func (r *Request) refuseReply() {
	r.counts.refusedReply()
	r.server.badReplies.WithLabelValues(string(r.row.Verb)).Inc()
	r.server.log.Warn("request not run: its reply subject is no inbox; if callers have inboxes there, name their prefix in replyPrefixes",
		"runner", r.server.cfg.Runner, "subject", r.subject, "reply", r.reply, "setting", "replyPrefixes")
}

// account counts a request and leaves the line that an audit asks for: who
// answered what, in which words, and where the answer went.
func (r *Request) account(err error) {
	code, took := 200, time.Since(r.came)
	if err != nil {
		r.counts.failed(err)
		code = r.server.codeOf(err)
	}
	r.server.requests.WithLabelValues(string(r.row.Verb), strconv.Itoa(code)).Inc()
	fields := []any{"runner", r.server.cfg.Runner, "subject", r.subject, "reply", r.reply, "code", code, "took", took}
	if r.Run != "" {
		fields = append(fields, "run", r.Run)
	}
	if user := subjects.User(r.Header(subjects.HeaderUser)); user != "" {
		fields = append(fields, "user", user)
	}
	if trace := r.Trace(); trace != "" {
		fields = append(fields, subjects.HeaderTrace, trace)
	}
	if err != nil {
		r.server.log.Info("request refused", append(fields, "error", Text(err))...)
		return
	}
	r.server.log.Info("request accepted", fields...)
}
