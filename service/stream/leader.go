package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoMessage: the stream has no such message.
var ErrNoMessage = errors.New("no message")

// Message is a stored message.
type Message struct {
	Subject string
	Seq     uint64 // in the stream
	Header  nats.Header
	Data    []byte
	Time    time.Time // when it was stored, by the server's clock
}

// Last reads the last message of a subject, which may have wildcards, from the
// stream's leader. What it says is what a conditional publish is compared with.
// Error: ErrNoMessage.
func (s Stream) Last(ctx context.Context, subject string) (Message, error) {
	return s.leader(ctx, request{Last: subject})
}

// Next reads the first message of a subject whose sequence is seq or more, from
// the stream's leader. Error: ErrNoMessage.
func (s Stream) Next(ctx context.Context, subject string, seq uint64) (Message, error) {
	return s.leader(ctx, request{Seq: max(seq, 1), Next: subject})
}

// NextDirect is Next that any replica may answer, where the stream allows direct
// gets. It asks the leader where no replica has an answer.
func (s Stream) NextDirect(ctx context.Context, subject string, seq uint64) (Message, error) {
	r := request{Seq: max(seq, 1), Next: subject}
	body, err := json.Marshal(r)
	if err != nil {
		return Message{}, err
	}
	reply, err := s.JS.Conn().RequestWithContext(ctx, s.api("DIRECT.GET."), body)
	if err != nil && !errors.Is(err, nats.ErrNoResponders) {
		return Message{}, err
	}
	if err == nil && reply.Header.Get("Status") == "" {
		return directMessage(reply)
	}
	return s.leader(ctx, r)
}

// request is that of STREAM.MSG.GET and of a direct get.
type request struct {
	Seq  uint64 `json:"seq,omitempty"`
	Last string `json:"last_by_subj,omitempty"`
	Next string `json:"next_by_subj,omitempty"`
}

func (s Stream) leader(ctx context.Context, r request) (Message, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Message{}, err
	}
	m, err := s.JS.Conn().RequestWithContext(ctx, s.api("STREAM.MSG.GET."), body)
	if err != nil {
		return Message{}, err
	}
	var reply struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return Message{}, fmt.Errorf("invalid reply of the server: %w", err)
	}
	if reply.Error != nil {
		if reply.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return Message{}, ErrNoMessage
		}
		return Message{}, reply.Error
	}
	if reply.Message == nil {
		return Message{}, errors.New("invalid reply of the server")
	}
	found := Message{Subject: reply.Message.Subject, Seq: reply.Message.Seq, Data: reply.Message.Data, Time: reply.Message.Time}
	if len(reply.Message.Header) > 0 {
		found.Header, err = nats.DecodeHeadersMsg(reply.Message.Header)
	}
	return found, err
}

// directMessage reads the answer to a direct get.
func directMessage(m *nats.Msg) (Message, error) {
	found := Message{Subject: m.Header.Get(jetstream.SubjectHeader), Header: m.Header, Data: m.Data}
	var err error
	if found.Seq, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
		return found, fmt.Errorf("invalid reply of the server: %w", err)
	}
	found.Time, err = time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	return found, err
}
