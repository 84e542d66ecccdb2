// Package wire is a stranger's client: what it knows of Runnel is what
// docs/wire.md promises, and its tools are those of any NATS client. Tests read
// logs with it, so that nothing of ours checks itself.
//
// A Log is given the messages of one run's subject. It joins the records to the
// bytes of the two streams and insists on all that the wire promises: messages
// numbered without a hole, lines numbered without a hole, and an EOF record
// whose counts and hash are those of what came.
package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Stream is where every log of the default prefix is.
const Stream = "RUNNER_LOG"

// Record is one record of a log, as JSON has it.
type Record struct {
	Pos      int64    `json:"pos"`
	Time     string   `json:"time"`
	Stream   string   `json:"stream"`
	Message  string   `json:"message"`
	Messages []string `json:"messages"`
	Raw      []byte   `json:"raw"`
	Tag      string   `json:"tag"`
	End
}

// End is what an EOF record says of the run; GAP has Lines and Bytes as well.
type End struct {
	State    string `json:"state"`
	Reason   string `json:"reason"`
	ExitCode int    `json:"exitCode"`
	Signal   string `json:"signal"`
	Error    string `json:"error"`
	Lines    int64  `json:"lines"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`
	Dropped  int64  `json:"dropped"`
}

// Log joins the records of one run. The zero value throws the text away and
// still checks it.
type Log struct {
	// Stdout and Stderr get the streams' bytes.
	Stdout, Stderr io.Writer
	// Each, if set, is told of every record, packed ones as they are.
	Each func(Record)

	// End is the EOF record, once it has come.
	End *Record
	// Messages and Gaps are how many there were.
	Messages, Gaps int

	lines, bytes int64
	next         int64            // pos of the next new line, less one
	open         map[string]int64 // stream → pos of its unfinished line
	hash         hash.Hash
}

// Add takes the next message: its Runner-Seq and its body.
func (l *Log) Add(seq string, body []byte) error {
	if l.hash == nil {
		l.hash, l.open = sha256.New(), map[string]int64{}
	}
	l.Messages++
	if seq != strconv.Itoa(l.Messages) {
		return fmt.Errorf("message %d of the log has Runner-Seq %q", l.Messages, seq)
	}
	for line := range bytes.Lines(body) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("message %d has %.100q: %w", l.Messages, line, err)
		}
		if err := l.record(r); err != nil {
			return fmt.Errorf("message %d, %.100q: %w", l.Messages, line, err)
		}
		if l.Each != nil {
			l.Each(r)
		}
	}
	return nil
}

func (l *Log) record(r Record) error {
	if l.End != nil {
		return errors.New("a record after EOF")
	}
	if _, err := strconv.ParseInt(r.Time, 10, 64); err != nil {
		return fmt.Errorf("time is no number: %w", err)
	}
	switch r.Tag {
	case "EOF":
		return l.end(r)
	case "GAP":
		l.Gaps++
		l.next += r.Lines
		return nil
	case "BOL", "":
	default:
		return fmt.Errorf("unknown tag %q", r.Tag)
	}
	if r.Messages == nil {
		text := []byte(r.Message)
		if r.Raw != nil {
			text = r.Raw
		}
		return l.text(r.Stream, r.Pos, text, r.Tag == "BOL")
	}
	for i, m := range r.Messages {
		if err := l.text(r.Stream, r.Pos+int64(i), []byte(m), false); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) text(stream string, pos int64, text []byte, open bool) error {
	switch was, unfinished := l.open[stream]; {
	case unfinished && pos != was:
		return fmt.Errorf("pos is %d, but line %d of %q is not finished", pos, was, stream)
	case !unfinished && pos != l.next+1:
		return fmt.Errorf("pos is %d after %d", pos, l.next)
	case !unfinished:
		l.next++
		l.lines++
	}
	delete(l.open, stream)
	if open {
		l.open[stream] = pos
	} else {
		text = append(text, '\n')
	}
	l.bytes += int64(len(text))
	l.hash.Write(text)
	w := l.Stdout
	if stream == "stderr" {
		w = l.Stderr
	}
	if w == nil {
		return nil
	}
	_, err := w.Write(text)
	return err
}

func (l *Log) end(r Record) error {
	l.End = &r
	switch sum := hex.EncodeToString(l.hash.Sum(nil)); {
	case r.Lines != l.lines || r.Bytes != l.bytes:
		return fmt.Errorf("EOF counts %d lines and %d bytes, there were %d and %d", r.Lines, r.Bytes, l.lines, l.bytes)
	case r.SHA256 != sum:
		return fmt.Errorf("EOF has hash %s, the text %s", r.SHA256, sum)
	case r.Pos != l.next+1:
		return fmt.Errorf("EOF has pos %d after %d", r.Pos, l.next)
	}
	return nil
}

// Follow reads what is published, from the first message on, until EOF. A
// message whose acknowledgement was late is published again, so numbers that
// came before are passed over. Patience is for one message.
func (l *Log) Follow(sub *nats.Subscription, patience time.Duration) error {
	return l.read(sub, patience, true)
}

func (l *Log) read(sub *nats.Subscription, patience time.Duration, repeats bool) error {
	for l.End == nil {
		msg, err := sub.NextMsg(patience)
		if err != nil {
			return fmt.Errorf("after %d messages of the log: %w", l.Messages, err)
		}
		seq := msg.Header.Get("Runner-Seq")
		if n, err := strconv.Atoi(seq); repeats && err == nil && n <= l.Messages {
			continue
		}
		if err := l.Add(seq, msg.Data); err != nil {
			return err
		}
	}
	return nil
}

// Replay reads what the stream has of a subject, until EOF: every message once.
func (l *Log) Replay(nc *nats.Conn, subject string, patience time.Duration) error {
	js, err := nc.JetStream()
	if err != nil {
		return err
	}
	sub, err := js.SubscribeSync(subject, nats.OrderedConsumer(), nats.BindStream(Stream))
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	return l.read(sub, patience, false)
}

// Live subscribes to the log of a run that is yet to be asked for, with room
// for all of it.
func Live(nc *nats.Conn, run string) (*nats.Subscription, error) {
	sub, err := nc.SubscribeSync("runner.log.*." + run)
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	return sub, nc.Flush()
}
