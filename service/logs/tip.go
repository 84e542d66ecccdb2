package logs

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
)

// A Tip says how far a log goes. The zero value is that of an empty one.
type Tip struct {
	Stored  uint64   // sequence in the stream of its last message
	Seq     uint64   // Runner-Seq of that message
	Records int      // in that message, one a line
	Bytes   [2]int64 // of the text of each stream, newlines included, up to its end
	Placed  bool     // Bytes is known
	Ended   bool     // the message has the EOF record
	Next    int64    // number that a next line would have, as far as the message tells

	End *lines.Record // the EOF record
}

// ReadTip reads the last message of a log.
func ReadTip(ctx context.Context, js jetstream.JetStream, stream, subject string) (tip Tip, err error) {
	log, err := openStored(ctx, js, stream, subject)
	if err != nil {
		return tip, err
	}
	m, err := log.last(ctx)
	if errors.Is(err, errNotFound) {
		return tip, nil
	}
	if err != nil {
		return tip, err
	}
	return tipOf(m), nil
}

func tipOf(m message) Tip {
	head := headOf(m.header)
	tip := Tip{Stored: m.seq, Seq: m.runnerSeq, Placed: head.Pos > 0, Bytes: head.Bytes}
	// What can't be read ends the count; reading it for good will say so.
	_ = lines.Decode(m.body, func(r lines.Record) error {
		tip.Records++
		tip.Next = max(tip.Next, r.Pos+1)
		switch {
		case r.End != nil:
			tip.Ended, tip.Next, tip.End = true, r.Pos, &r
		case r.Gap != nil:
			tip.Next = max(tip.Next, r.Pos+r.Gap.Lines)
		default:
			tip.Bytes[r.Stream] += int64(len(r.Text))
			if !r.Open {
				tip.Bytes[r.Stream]++
			}
		}
		return nil
	})
	return tip
}
