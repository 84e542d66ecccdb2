// Package search finds text in the logs of runs, where they are: a client of a
// million lines gets the places, and not the lines.
//
// A line is searched whole, whatever the pieces that it was cut into, and as a
// terminal would show it: escape sequences are not part of the text.
package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/lines"
)

const (
	// maxQuery bounds an expression, maxLine what of a line is searched.
	maxQuery = 1000
	maxLine  = 1 << 20
	// maxHits is how many places are sent; more are counted.
	maxHits = 10000
	// sayTime is how often the count so far is sent.
	sayTime = 100 * time.Millisecond
	// searches at a time; each keeps a core busy.
	searches = 4
)

type server struct {
	*room.House
	places chan struct{}
}

// Routes are the room's.
func Routes(h *room.House) []room.Route {
	s := &server{h, make(chan struct{}, searches)}
	return []room.Route{{Method: "GET", Path: "/api/v1/runs/{id}/log/search", Scope: auth.ScopeRead, Handle: s.search}}
}

// hit is a line that has what is searched for: its number and, in its text without
// escape sequences, the first characters that match, counted in UTF-16 as browsers
// count, and how often it matches.
type hit struct {
	Pos    int64  `json:"pos"`
	Stream string `json:"stream,omitempty"`
	Start  int    `json:"start"`
	End    int    `json:"end"`
	Times  int    `json:"times"`
}

// count says how far the search is.
type count struct {
	Lines   int64 `json:"lines"`   // that match
	Matches int64 `json:"matches"` // in all
	Upto    int64 `json:"upto"`    // the last line that was searched
	Done    bool  `json:"done"`
	Cut     bool  `json:"cut,omitempty"` // not every place was sent
}

func (s *server) search(w http.ResponseWriter, r *http.Request) {
	run, err := s.Client.Status(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, client.ErrUnknownRun):
		reply.Error(w, http.StatusNotFound, "Run not found")
		return
	case err != nil:
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	q, opts, err := read(r.URL.Query())
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		w.Header().Set("Retry-After", "1")
		reply.Error(w, http.StatusTooManyRequests, "too many searches at once. Please try later")
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	f := &finder{query: q, most: opts.most, out: json.NewEncoder(w), flush: http.NewResponseController(w).Flush, said: time.Now()}
	if err := f.run(r.Context(), s.Client, run, opts.from); err != nil {
		s.Log.Warn("cannot search a log", "run", run.GetId(), "error", err)
		panic(http.ErrAbortHandler) // the client sees that it is not whole
	}
}

// query is what is searched for.
type query struct {
	what    *regexp.Regexp
	literal literal
}

type options struct {
	from int64
	most int64
}

// read reads q, regex=1, case=1, from and limit.
func read(q url.Values) (query, options, error) {
	opts := options{from: 1, most: maxHits}
	text := q.Get("q")
	if text == "" || len(text) > maxQuery {
		return query{}, opts, fmt.Errorf("q: what to search for has %d bytes, and must have 1 to %d", len(text), maxQuery)
	}
	for name, into := range map[string]*int64{"from": &opts.from, "limit": &opts.most} {
		if value := q.Get(name); value != "" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 {
				return query{}, opts, fmt.Errorf("%s: %q is not a number from 1", name, value)
			}
			*into = n
		}
	}
	opts.most = min(opts.most, maxHits)
	if !isYes(q.Get("regex")) {
		text = regexp.QuoteMeta(text)
	}
	if !isYes(q.Get("case")) {
		text = "(?i)" + text
	}
	what, err := regexp.Compile(text)
	if err != nil {
		return query{}, opts, fmt.Errorf("q: %w", err)
	}
	return query{what, literalOf(text)}, opts, nil
}

func isYes(text string) bool { yes, _ := strconv.ParseBool(text); return yes }

// finder searches one log.
type finder struct {
	query
	most    int64
	out     *json.Encoder
	flush   func() error
	said    time.Time
	sent    int64
	count   count
	open    [2]line
	passed  []byte // the message before, if its lines were not read
	problem error  // of saying how far it is
}

// line is one that goes on in another record.
type line struct {
	pos  int64
	text []byte
}

func (f *finder) run(ctx context.Context, c *client.Client, run *pb.Run, from int64) error {
	if run.GetLogSubject() != "" {
		if _, err := c.Follow(ctx, run, client.FollowOptions{FromPos: from, Pass: f.pass}, f.record); err != nil {
			return err
		}
		f.upto()
	}
	for s := range f.open {
		if err := f.finish(lines.Stream(s)); err != nil {
			return err
		}
	}
	f.count.Done = true
	return f.say()
}

// pass says whether a message can't have what is searched for: none of its bytes
// stand for others, no line goes on from it or into it, and the literal is not there.
func (f *finder) pass(body []byte) bool {
	if f.problem != nil || f.open[0].pos != 0 || f.open[1].pos != 0 || len(f.literal.text) == 0 {
		return false
	}
	for _, word := range []string{`\u`, `"BOL"`, `"raw"`} {
		if bytes.Contains(body, []byte(word)) {
			return false
		}
	}
	if f.literal.in(body) {
		return false
	}
	if time.Since(f.said) >= sayTime {
		f.upto()
		f.problem = f.say()
	}
	f.passed = body
	return true
}

// upto counts the lines of the message that was passed over last.
func (f *finder) upto() {
	// What can't be read would have been no line.
	_ = lines.Decode(f.passed, func(r lines.Record) error {
		if r.Gap == nil {
			f.count.Upto = max(f.count.Upto, r.Pos)
		}
		return nil
	})
	f.passed = nil
}

func (f *finder) record(r lines.Record) error {
	if r.End != nil || r.Gap != nil || f.problem != nil {
		return f.problem
	}
	open := &f.open[r.Stream]
	if open.pos != r.Pos {
		if err := f.finish(r.Stream); err != nil {
			return err
		}
		open.pos = r.Pos
	}
	if r.Open || len(open.text) > 0 {
		open.text = append(open.text, r.Text[:min(len(r.Text), maxLine-len(open.text))]...)
		if r.Open {
			return nil
		}
		return f.finish(r.Stream)
	}
	open.pos = 0
	return f.look(r.Pos, r.Stream, r.Text)
}

// finish searches a line whose pieces have all come.
func (f *finder) finish(s lines.Stream) error {
	open := &f.open[s]
	if open.pos == 0 {
		return nil
	}
	err := f.look(open.pos, s, open.text)
	open.pos, open.text = 0, open.text[:0]
	return err
}

func (f *finder) look(pos int64, s lines.Stream, text []byte) error {
	f.count.Upto = max(f.count.Upto, pos)
	if err := f.find(pos, s, Plain(text)); err != nil {
		return err
	}
	if time.Since(f.said) < sayTime {
		return nil
	}
	return f.say()
}

func (f *finder) find(pos int64, s lines.Stream, text []byte) error {
	if !f.literal.in(text) {
		return nil
	}
	places := f.what.FindAllIndex(text, -1)
	if len(places) == 0 {
		return nil
	}
	f.count.Lines++
	f.count.Matches += int64(len(places))
	if f.sent == f.most {
		f.count.Cut = true
		return nil
	}
	f.sent++
	h := hit{Pos: pos, Start: units(text[:places[0][0]]), End: units(text[:places[0][1]]), Times: len(places)}
	if s == lines.Stderr {
		h.Stream = s.String()
	}
	return f.out.Encode(h)
}

// say sends the count so far.
func (f *finder) say() error {
	f.said = time.Now()
	if err := f.out.Encode(f.count); err != nil {
		return err
	}
	return f.flush()
}

// units counts the UTF-16 units of a text.
func units(text []byte) (n int) {
	for _, r := range string(text) {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

const escape = 0x1b

// Plain is a text without its escape sequences: CSI, OSC and other strings, and
// those of two or three bytes.
func Plain(text []byte) []byte {
	at := bytes.IndexByte(text, escape)
	if at < 0 {
		return text
	}
	out := append(make([]byte, 0, len(text)), text[:at]...)
	for at < len(text) {
		if text[at] != escape {
			next := bytes.IndexByte(text[at:], escape)
			if next < 0 {
				return append(out, text[at:]...)
			}
			out = append(out, text[at:at+next]...)
			at += next
		}
		at += sequence(text[at:])
	}
	return out
}

// sequence is the length of the escape sequence that a text begins with.
func sequence(text []byte) int {
	if len(text) < 2 {
		return len(text)
	}
	switch c := text[1]; {
	case c == '[': // CSI: up to a byte from @ to ~
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
		}
		return len(text)
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_': // a string, up to BEL or ESC \
		for i := 2; i < len(text); i++ {
			if text[i] == 0x07 {
				return i + 1
			}
			if text[i] == escape && i+1 < len(text) && text[i+1] == '\\' {
				return i + 2
			}
		}
		return len(text)
	case c >= 0x20 && c <= 0x2f: // such as ESC ( B
		return min(3, len(text))
	}
	return 2
}
