package link

import (
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Encode gives a request's protobuf and refuses here what a runner would. JSON
// is for those who write it by hand: to read it back takes ten times as long.
func Encode(req pb.Request) ([]byte, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	body, err := pb.Encode(req, true)
	if err != nil {
		return nil, fmt.Errorf("cannot send the request: %w", err)
	}
	return body, nil
}

// Decode reads a reply. One that carries an error is read as well, as far as it is
// valid; the error is a *Refusal.
func (l *Link) Decode(msg *nats.Msg, reply pb.Message) error {
	if msg.Header.Get(micro.ErrorHeader) == "" && msg.Header.Get(micro.ErrorCodeHeader) == "" {
		return decodeBody(msg, reply)
	}
	code, _ := strconv.Atoi(msg.Header.Get(micro.ErrorCodeHeader))
	// An error's own body has other fields; a glance's or a maint's reply is as
	// usual and says what is known all the same.
	_ = decodeBody(msg, reply)
	r := &Refusal{Runner: msg.Header.Get(subjects.HeaderRunner), Code: code, Text: msg.Header.Get(micro.ErrorHeader)}
	r.err = l.Refused(*r)
	return r
}

// decodeBody reads a reply in the form named by its Content-Type.
func decodeBody(msg *nats.Msg, reply pb.Message) error {
	return pb.DecodeReply(msg.Data, msg.Header.Get(subjects.HeaderContentType) == subjects.Protobuf, reply)
}
