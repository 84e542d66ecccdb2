package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// PlainType is the Content-Type of a log as text.
const PlainType = "text/plain; charset=utf-8"

// Text is one stream of some runs, as text alone.
type Text struct {
	Runs   []*pb.Run
	Tips   []logs.Tip // how far they go; only Send needs them
	Stream lines.Stream
	Tail   int // lines; 0 for all
	Tag    string
}

// Send sends one stream's text, or a range of its bytes.
func Send(w http.ResponseWriter, r *http.Request, h *room.House, p Text) {
	if p.takesRange() {
		w.Header().Set("Accept-Ranges", "bytes")
		if wanted := r.Header.Get("Range"); wanted != "" && r.Method == http.MethodGet && p.isWanted(r.Header.Get("If-Range")) {
			if from, to, ok := byteRange(wanted, p.size()); ok {
				p.sendRange(w, r, h, span{from, to})
				return
			}
		}
	}
	out, done := reply.Begin(w, r, p.Tag, PlainType)
	if !done {
		Finish(out, h.Log, p.Write(r.Context(), h.Client, plainWriter{out.Writer}))
	}
}

// takesRange says whether the text's bytes can be counted: not those of several
// runs, of a tail, or of a log whose messages don't say where they stand.
func (p Text) takesRange() bool {
	return len(p.Runs) == 1 && p.Tail == 0 && (p.Tips[0].Placed || p.Tips[0].Stored == 0)
}

func (p Text) size() int64 { return p.Tips[0].Bytes[p.Stream] }

// isWanted is If-Range (RFC 9110): another text is sent whole.
func (p Text) isWanted(ifRange string) bool {
	return ifRange == "" || ifRange == reply.Quoted(p.Tag, false)
}

// byteRange reads a header Range: from and to are its first byte and the one
// behind it; from is not below size if nothing of it is there. It is not ok, and
// to be passed over, if it is another unit, several ranges or nonsense.
func byteRange(header string, size int64) (from, to int64, ok bool) {
	unit, text, _ := strings.Cut(header, "=")
	first, last, dash := strings.Cut(strings.TrimSpace(text), "-")
	if !strings.EqualFold(strings.TrimSpace(unit), "bytes") || !dash {
		return 0, 0, false
	}
	if first == "" { // so many last ones
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil {
			return 0, 0, false
		}
		if n == 0 {
			return size, size, true
		}
		return max(size-int64(n), 0), size, true
	}
	a, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return 0, 0, false
	}
	from, to = int64(a), size
	if last != "" {
		b, err := strconv.ParseUint(last, 10, 63)
		if err != nil || b < a {
			return 0, 0, false
		}
		to = min(size, int64(min(b, 1<<62))+1)
	}
	return from, to, true
}

// span is a range of bytes: the first, and the one behind the last.
type span struct{ from, to int64 }

func (p Text) sendRange(w http.ResponseWriter, r *http.Request, house *room.House, s span) {
	if s.from >= p.size() {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", p.size()))
		reply.Error(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("the text has %d bytes", p.size()))
		return
	}
	if reply.SetTag(w, r, p.Tag, false) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", PlainType)
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", s.from, s.to-1, p.size()))
	h.Set("Content-Length", strconv.FormatInt(s.to-s.from, 10))
	w.WriteHeader(http.StatusPartialContent)
	out := &reply.Text{Writer: bufio.NewWriterSize(w, 64<<10)}
	Finish(out, house.Log, p.writeBytes(r.Context(), house.Client, out, s))
}

// errEnough ends the reading of a log.
var errEnough = errors.New("enough")

// writeBytes writes some bytes of a text; what is before them is not read.
func (p Text) writeBytes(ctx context.Context, c *client.Client, out *reply.Text, s span) error {
	left := s.to - s.from
	opts := client.FollowOptions{Streams: []lines.Stream{p.Stream}, FromByte: s.from}
	_, err := c.Follow(ctx, p.Runs[0], opts, func(r lines.Record) error {
		if r.End != nil || r.Gap != nil {
			return nil
		}
		text := r.Text[:min(left, int64(len(r.Text)))]
		left -= int64(len(text))
		if _, err := out.Write(text); err != nil {
			return err
		}
		if left > 0 && !r.Open {
			left--
			if err := out.WriteByte('\n'); err != nil {
				return err
			}
		}
		if left == 0 {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err == nil && left > 0:
		return fmt.Errorf("the log has %d bytes less than it says", left)
	}
	return err
}
