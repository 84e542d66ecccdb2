package stream

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// Tips says how far the logs of runs go.
func Tips(ctx context.Context, c *client.Client, runs []*pb.Run) ([]logs.Tip, error) {
	tips := make([]logs.Tip, len(runs))
	for i, run := range runs {
		var err error
		if tips[i], err = c.LogTip(ctx, run); err != nil {
			return nil, err
		}
	}
	return tips, nil
}

// Tag is the entity tag of the logs of runs, the same at every gateway: their
// last messages say how far they go. What is read later may have more in it; the
// next request sees another tag then.
func Tag(runs []*pb.Run, tips []logs.Tip, form string) string {
	sum := sha256.New()
	_, _ = fmt.Fprint(sum, form)
	for i, run := range runs {
		_, _ = fmt.Fprintf(sum, " %s %d %d", run.GetId(), tips[i].Stored, tips[i].Seq)
	}
	return "l" + hex.EncodeToString(sum.Sum(nil)[:12])
}

// Finish ends an answer that was streamed.
func Finish(out *reply.Text, log *slog.Logger, err error) {
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		log.Warn("cannot send a log", "error", err)
		panic(http.ErrAbortHandler) // the client sees that it is not whole
	}
}

// Named is the stream of a name.
func Named(name string) lines.Stream {
	if name == "stderr" {
		return lines.Stderr
	}
	return lines.Stdout
}

// Tail reads how many last lines a request wants, 0 for all.
func Tail(r *http.Request) (int, error) {
	text := r.URL.Query().Get("tail")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("invalid tail %q: it is a number of lines, at least 1", text)
	}
	return n, nil
}

// Writer takes text piece by piece.
type Writer interface {
	text([]byte) error
}

// JSONWriter writes the inside of a JSON string.
type JSONWriter struct{ *bufio.Writer }

const hexDigits = "0123456789abcdef"

func (j JSONWriter) text(b []byte) error {
	for len(b) > 0 {
		c := b[0]
		switch {
		case c == '"' || c == '\\':
			_, _ = j.Write([]byte{'\\', c})
		case c == '\n':
			_, _ = j.WriteString(`\n`)
		case c == '\t':
			_, _ = j.WriteString(`\t`)
		case c == '\r':
			_, _ = j.WriteString(`\r`)
		case c < 0x20 || c == '<' || c == '>' || c == '&':
			_, _ = j.Write([]byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]})
		case c < utf8.RuneSelf:
			_ = j.WriteByte(c)
		default:
			r, size := utf8.DecodeRune(b)
			_, _ = j.WriteRune(r) // U+FFFD for what is not UTF-8
			b = b[size:]
			continue
		}
		b = b[1:]
	}
	_, err := j.Write(nil)
	return err
}

type plainWriter struct{ *bufio.Writer }

func (p plainWriter) text(b []byte) error {
	_, err := p.Write(b)
	return err
}

// Write writes the text. Of several runs, each line has its runner's name before it.
func (t Text) Write(ctx context.Context, c *client.Client, out Writer) error {
	for _, run := range t.Runs {
		one := runText{Text: t, run: run}
		if len(t.Runs) > 1 {
			one.prefix = run.GetRunner() + ": "
		}
		if err := one.write(ctx, c, out); err != nil {
			return err
		}
	}
	return nil
}

// runText is the text of one of the runs.
type runText struct {
	Text
	run    *pb.Run
	prefix string // of each line
}

func (t runText) write(ctx context.Context, c *client.Client, out Writer) error {
	begins := true
	ring := newTail(t.Tail)
	write := out.text
	if t.Tail > 0 {
		write = ring.text
	}
	_, err := c.Follow(ctx, t.run, client.FollowOptions{Streams: []lines.Stream{t.Stream}}, func(r lines.Record) error {
		if r.End != nil || r.Gap != nil {
			return nil
		}
		if begins && t.prefix != "" {
			if err := write([]byte(t.prefix)); err != nil {
				return err
			}
		}
		if err := write(r.Text); err != nil {
			return err
		}
		if begins = !r.Open; begins {
			return write([]byte{'\n'})
		}
		return nil
	})
	if err != nil || t.Tail == 0 {
		return err
	}
	return ring.flush(out)
}

// tailRing keeps the last lines of a text.
type tailRing struct {
	most  int
	lines [][]byte
	open  []byte
}

func newTail(most int) *tailRing { return &tailRing{most: most} }

func (t *tailRing) text(b []byte) error {
	for _, c := range b {
		t.open = append(t.open, c)
		if c == '\n' {
			t.lines = append(t.lines, t.open)
			t.open = nil
			if len(t.lines) > t.most {
				t.lines = t.lines[1:]
			}
		}
	}
	return nil
}

func (t *tailRing) flush(out Writer) error {
	if len(t.open) > 0 && len(t.lines) == t.most {
		t.lines = t.lines[1:]
	}
	for _, line := range append(t.lines, t.open) {
		if err := out.text(line); err != nil {
			return err
		}
	}
	return nil
}
