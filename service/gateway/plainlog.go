package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

const plainType = "text/plain; charset=utf-8"

// plainText is one stream of some runs, as text alone.
type plainText struct {
	runs   []*pb.Run
	tips   []logs.Tip
	stream lines.Stream
	tail   int
	tag    string
}

// plainLog sends one stream's text, or a range of its bytes.
func (g *Gateway) plainLog(w http.ResponseWriter, r *http.Request, p plainText) {
	if p.takesRange() {
		w.Header().Set("Accept-Ranges", "bytes")
		if wanted := r.Header.Get("Range"); wanted != "" && r.Method == http.MethodGet && p.isWanted(r.Header.Get("If-Range")) {
			if from, to, ok := byteRange(wanted, p.size()); ok {
				g.plainRange(w, r, p, from, to)
				return
			}
		}
	}
	out, done := begin(w, r, p.tag, plainType)
	if !done {
		g.finish(out, g.writeText(r.Context(), plainWriter{out.Writer}, p.runs, p.stream, p.tail))
	}
}

// takesRange says whether the text's bytes can be counted: not those of several
// runs, of a tail, or of a log whose messages don't say where they stand.
func (p plainText) takesRange() bool {
	return len(p.runs) == 1 && p.tail == 0 && (p.tips[0].Placed || p.tips[0].Stored == 0)
}

func (p plainText) size() int64 { return p.tips[0].Bytes[p.stream] }

// isWanted is If-Range (RFC 9110): another text is sent whole.
func (p plainText) isWanted(ifRange string) bool {
	return ifRange == "" || ifRange == quotedTag(p.tag, false)
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

func (g *Gateway) plainRange(w http.ResponseWriter, r *http.Request, p plainText, from, to int64) {
	if from >= p.size() {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", p.size()))
		writeError(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("the text has %d bytes", p.size()))
		return
	}
	if setTag(w, r, p.tag, false) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", plainType)
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, p.size()))
	h.Set("Content-Length", strconv.FormatInt(to-from, 10))
	w.WriteHeader(http.StatusPartialContent)
	out := &zipWriter{Writer: bufio.NewWriterSize(w, 64<<10)}
	g.finish(out, g.writeBytes(r.Context(), out, p, from, to))
}

// errEnough ends the reading of a log.
var errEnough = errors.New("enough")

// writeBytes writes some bytes of a text; what is before them is not read.
func (g *Gateway) writeBytes(ctx context.Context, out *zipWriter, p plainText, from, to int64) error {
	left := to - from
	opts := client.FollowOptions{Streams: []lines.Stream{p.stream}, FromByte: from}
	_, err := g.client.Follow(ctx, p.runs[0], opts, func(r lines.Record) error {
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
