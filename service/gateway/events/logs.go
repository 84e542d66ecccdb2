package events

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/stream"
	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/service/store"
)

// followLog sends a log's records, several at a time, and its end.
func (s *sender) followLog(ctx context.Context, t *topic) error {
	if t.at == ended {
		return nil
	}
	run, err := s.withLog(ctx, t.id)
	if errors.Is(err, client.ErrUnknownRun) {
		return s.end(t, nil, "unknown run id "+t.id)
	}
	if err != nil {
		return err
	}
	opts := tails.Options{Reset: func() error { return s.send(t, "", "reset", []byte(`{"topic":"`+t.name()+`"}`)) }}
	if at, ok := tails.PlaceOf(t.at); ok {
		opts.After = at
	} else if t.from > 0 {
		opts.FromPos = t.from
	} else if t.from < 0 {
		opts.Tail = -t.from
	}
	var last []byte
	if run.GetLogSubject() != "" {
		err = s.Tails.Follow(ctx, run, opts, func(records []tails.Record) error {
			if n := len(records); n > 0 && records[n-1].End {
				last, records = records[n-1].Text, records[:n-1]
			}
			if len(records) == 0 {
				return nil
			}
			return s.sendOf(t, records[len(records)-1].Place.String(), "log", func(out *bufio.Writer) { writeLog(out, t.id, records) })
		})
	}
	if err != nil {
		return err
	}
	return s.end(t, last, "")
}

// withLog waits until a run has a log, or has ended without.
func (s *sender) withLog(ctx context.Context, id string) (*pb.Run, error) {
	for {
		run, err := s.Client.Status(ctx, id)
		if err != nil || run.GetLogSubject() != "" || store.Final(run.GetState()) {
			return run, err
		}
		if err := stream.Pause(ctx, stream.Look); err != nil {
			return nil, err
		}
	}
}

// writeLog writes {"run":ID,"at":[[MESSAGE,RECORD,COUNT],…],"records":[…]}: at says
// in which messages the records are, the number of the first in each, and how many.
func writeLog(out *bufio.Writer, run string, records []tails.Record) {
	_, _ = out.WriteString(`{"run":"` + run + `","at":[`)
	for i := 0; i < len(records); {
		first, n := records[i].Place, 1
		for i+n < len(records) && records[i+n].Place == (tails.Place{Seq: first.Seq, Record: first.Record + n}) {
			n++
		}
		if i > 0 {
			_ = out.WriteByte(',')
		}
		_, _ = fmt.Fprintf(out, "[%d,%d,%d]", first.Seq, first.Record, n)
		i += n
	}
	_, _ = out.WriteString(`],"records":[`)
	for i, r := range records {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		_, _ = out.Write(r.Text)
	}
	_, _ = out.WriteString("]}")
}

// end says that a log has ended: with its last record, where it has one.
func (s *sender) end(t *topic, record []byte, problem string) error {
	data, err := json.Marshal(struct {
		Run    string          `json:"run"`
		Record json.RawMessage `json:"record,omitempty"`
		Error  string          `json:"error,omitempty"`
	}{t.id, record, problem})
	if err != nil {
		return err
	}
	return s.send(t, ended, "end", data)
}
