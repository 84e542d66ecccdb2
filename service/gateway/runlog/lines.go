package runlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/stream"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

const (
	linesMost   = 1000     // lines of an answer
	linesUsual  = 250      // if the request doesn't say how many
	lineMost    = 4 << 10  // bytes of a line, if it isn't asked for whole
	wholeMost   = 8 << 20  // bytes of a line that is
	lineRewrite = 16 << 10 // bytes of a line that is rewritten by carriage returns, before its beginning is let go
	linesLate   = 2000     // records that are read on for the rest of lines that are not whole
)

// A Line is a line of a log with all its pieces together.
type Line struct {
	N      int64     `json:"n"`
	Time   string    `json:"t"` // Unix nanoseconds
	Stream string    `json:"s,omitempty"`
	Step   string    `json:"step,omitempty"`
	Text   string    `json:"text"`
	Cut    int64     `json:"cut,omitempty"`  // bytes that are left out at its end
	CR     int64     `json:"cr,omitempty"`   // times that it was rewritten before what Text begins with
	Open   bool      `json:"open,omitempty"` // it may go on
	At     string    `json:"at,omitempty"`   // place of its last piece, where it has several
	Gap    *gapCount `json:"gap,omitempty"`

	text []byte
}

type gapCount struct {
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"`
}

// linesPage is some lines of a log, and how far it goes.
type linesPage struct {
	First int64           `json:"first"` // the first that is kept
	Next  int64           `json:"next"`  // the number that the next line will have
	At    string          `json:"at"`    // the last record that there was, as in events
	Bytes [2]int64        `json:"bytes"` // of standard output and standard error up to there
	End   json.RawMessage `json:"end,omitempty"`
	Lines []*Line         `json:"lines"`
}

// linesWanted is what of a log a request wants.
type linesWanted struct {
	client.FollowOptions
	limit int
	whole bool // its lines are not cut
}

func readLinesWanted(r *http.Request) (l linesWanted, err error) {
	var limitErr error
	l.FollowOptions, err = logOptions(r)
	l.limit, limitErr = linesLimit(r)
	l.whole = r.URL.Query().Get("whole") == "1"
	if l.Tail > 0 {
		l.limit = linesMost
		l.Tail = min(l.Tail, linesMost)
	}
	return l, errors.Join(err, limitErr)
}

// runLines is some of a run's lines, each as one, by their numbers.
func (g *server) runLines(w http.ResponseWriter, r *http.Request) {
	run := g.runIn(w, r)
	if run == nil {
		return
	}
	wanted, err := readLinesWanted(r)
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	page, err := readLines(r.Context(), g.Client, run, wanted)
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	reply.JSON(w, http.StatusOK, page)
}

func linesLimit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return linesUsual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > linesMost {
		return 0, errors.New("invalid limit: it is a number of lines from 1 to " + strconv.Itoa(linesMost))
	}
	return n, nil
}

// LastLine is the last line of a run's log; nil if there is none yet.
func LastLine(ctx context.Context, c *client.Client, run *pb.Run) (*Line, error) {
	page, err := readLines(ctx, c, run, linesWanted{FollowOptions: client.FollowOptions{Tail: 1}, limit: 1})
	if err != nil || len(page.Lines) == 0 {
		return nil, err
	}
	return page.Lines[len(page.Lines)-1], nil
}

func readLines(ctx context.Context, c *client.Client, run *pb.Run, wanted linesWanted) (*linesPage, error) {
	page := &linesPage{First: 1, Next: 1, Lines: []*Line{}}
	if run.GetLogSubject() == "" {
		return page, nil
	}
	reader := &lineReader{page: page, opts: wanted.FollowOptions, limit: wanted.limit, most: lineMost, open: map[int64]*Line{}}
	if wanted.whole {
		reader.most = wholeMost
	}
	opts := wanted.FollowOptions
	opts.Message = func(seq uint64) { reader.at = stream.Place{Seq: seq} }
	res, err := c.Follow(ctx, run, opts, reader.record)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	page.tip(res.Tip())
	if res.Truncated && reader.first > 0 {
		page.First = reader.first
	}
	for _, l := range page.Lines {
		l.Text = string(bytes.ToValidUTF8(l.text, []byte("\uFFFD")))
	}
	return page, nil
}

func (p *linesPage) tip(tip logs.Tip) {
	p.At = stream.Place{Seq: tip.Seq, Record: tip.Records}.String()
	p.Next = max(p.Next, tip.Next)
	p.Bytes = tip.Bytes
	if tip.End != nil {
		p.End = bytes.TrimSpace(lines.AppendJSON(nil, *tip.End))
	}
}

var errEnough = errors.New("enough")

// lineReader puts the pieces of lines together.
type lineReader struct {
	page  *linesPage
	opts  client.FollowOptions
	limit int
	most  int
	at    stream.Place
	open  map[int64]*Line
	first int64 // number of the first line that was read
	late  int
}

func (l *lineReader) record(r lines.Record) error {
	l.at.Record++
	if l.first == 0 {
		l.first = r.Pos
	}
	if r.End != nil {
		return errEnough
	}
	if line := l.open[r.Pos]; line != nil && r.Gap == nil {
		l.add(line, r)
		return l.enough()
	}
	if len(l.page.Lines) >= l.limit || l.opts.FromPos > 0 && len(l.opts.Streams) == 0 && r.Pos >= l.opts.FromPos+int64(l.limit) {
		l.late++
		if len(l.open) == 0 || l.late > linesLate {
			return errEnough
		}
		return nil
	}
	line := &Line{N: r.Pos, Time: strconv.FormatInt(r.TimeNanos, 10), Step: r.Step}
	l.page.Lines = append(l.page.Lines, line)
	if r.Gap != nil {
		line.Gap = &gapCount{r.Gap.Lines, r.Gap.Bytes}
		l.page.Next = max(l.page.Next, r.Pos+r.Gap.Lines)
		return l.enough()
	}
	if r.Stream == lines.Stderr {
		line.Stream = r.Stream.String()
	}
	l.page.Next = max(l.page.Next, r.Pos+1)
	l.add(line, r)
	return l.enough()
}

func (l *lineReader) enough() error {
	if len(l.page.Lines) >= l.limit && len(l.open) == 0 {
		return errEnough
	}
	return nil
}

// add puts a piece at a line's end. A line that rewrites itself keeps its end, any other its beginning.
func (l *lineReader) add(line *Line, r lines.Record) {
	if len(line.text) < l.most || bytes.IndexByte(r.Text, '\r') >= 0 {
		line.text = append(line.text, r.Text...)
	} else {
		line.Cut += int64(len(r.Text))
	}
	if len(line.text) > lineRewrite && l.most == lineMost {
		line.rewrite()
	}
	if bytes.IndexByte(line.text, '\r') < 0 && len(line.text) > l.most {
		line.Cut += int64(len(line.text) - l.most)
		line.text = line.text[:l.most]
	}
	line.Open = r.Open
	if r.Open {
		line.At = l.at.String()
		l.open[line.N] = line
	} else {
		delete(l.open, line.N)
	}
}

// rewrite lets go of what was written over.
func (line *Line) rewrite() {
	last := bytes.LastIndexByte(line.text[:len(line.text)-1], '\r')
	if last <= 0 {
		return
	}
	line.CR += int64(bytes.Count(line.text[:last], []byte{'\r'}))
	line.text = append([]byte(nil), line.text[last:]...)
}
