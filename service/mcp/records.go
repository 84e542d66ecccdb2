package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/mcp/clip"
)

func (s *Server) addRecords() {
	add(s, tool{name: "list_runs", title: "List runs", need: NeedRead, about: "List runs, newest first."}, doListRuns)
	add(s, tool{name: "get_run", title: "Show a run", need: NeedRead, about: "The whole record of a run."}, doGetRun)
	add(s, tool{
		name: "get_log", title: "Read output", need: NeedRead,
		about: "Read a part of what a run has printed so far: from its beginning, from a line, or the last lines.",
	}, doGetLog)
}

const defaultList, maxList = 20, 100

// listLimit reads the limit of a list.
func listLimit(n int) (int, error) {
	switch {
	case n == 0:
		return defaultList, nil
	case n < 0 || n > maxList:
		return 0, fmt.Errorf("cannot use limit %d: it is 1 to %d", n, maxList)
	}
	return n, nil
}

type listRunsIn struct {
	States []string          `json:"states,omitempty" jsonschema:"PENDING, RUNNING, COMPLETE, FAILED, ABORTED, TIMEDOUT; default all"`
	Runner string            `json:"runner,omitempty" jsonschema:"only of this runner"`
	Group  string            `json:"group,omitempty" jsonschema:"only those that were started together under this id"`
	Tags   map[string]string `json:"tags,omitempty" jsonschema:"only those with all of these tags"`
	Limit  int               `json:"limit,omitempty" jsonschema:"at most so many, 1 to 100; default 20"`
	Next   string            `json:"next,omitempty" jsonschema:"from the result before, for the next page"`
}

type listRunsOut struct {
	Runs []listedRun `json:"runs"`
	Next string      `json:"next,omitempty" jsonschema:"there are more: give it back as next"`
}

type listedRun struct {
	Run      string            `json:"run"`
	Runner   string            `json:"runner"`
	State    string            `json:"state"`
	Reason   string            `json:"reason,omitempty"`
	ExitCode int32             `json:"exit_code"`
	Error    string            `json:"error,omitempty"`
	Name     string            `json:"name,omitempty"`
	Command  string            `json:"command,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Cut      string            `json:"cut,omitempty" jsonschema:"what was left out of this entry; get_run has it"`
	Group    string            `json:"group,omitempty"`
	Created  string            `json:"created"`
	Ended    string            `json:"ended,omitempty"`
	Lines    int64             `json:"lines"`
	Bytes    int64             `json:"bytes"`
}

// maxTags is how many bytes of tags are in an entry of a list.
const maxTags = 500

// doListRuns is the tool list_runs.
func doListRuns(ctx context.Context, c *call, in listRunsIn) (out listRunsOut, err error) {
	q := &pb.Query{All: true, Runner: in.Runner, Group: in.Group, Tags: in.Tags, Next: in.Next}
	limit, err := listLimit(in.Limit)
	if err != nil {
		return out, err
	}
	q.Limit = int64(limit)
	for _, name := range in.States {
		state, ok := pb.State_value[strings.ToUpper(name)]
		if !ok {
			return out, fmt.Errorf("cannot use state %q: it is PENDING, RUNNING, COMPLETE, FAILED, ABORTED or TIMEDOUT", clip.Short(name, 100))
		}
		q.States = append(q.States, pb.State(state))
	}
	reply, err := c.server.client.Query(ctx, q)
	if err != nil {
		return out, err
	}
	out.Runs, out.Next = []listedRun{}, reply.GetNext()
	for _, run := range reply.GetRuns() {
		out.Runs = append(out.Runs, listed(run))
	}
	return out, nil
}

func listed(run *pb.Run) listedRun {
	l := listedRun{
		Run: run.GetId(), Runner: run.GetRunner(), State: run.GetState().String(), Reason: run.GetReason(), ExitCode: run.GetExitCode(),
		Error: clip.Short(run.GetError(), 200), Name: clip.Short(run.GetName(), 100), Command: clip.Short(run.GetCommand(), 256), Tags: run.GetTags(),
		Group: run.GetGroup(), Created: timeText(run.GetCreated()), Ended: timeText(run.GetEnded()), Lines: run.GetLines(), Bytes: run.GetBytes(),
	}
	size := 0
	for k, v := range l.Tags {
		size += len(k) + len(v)
	}
	if size > maxTags {
		l.Tags, l.Cut = nil, fmt.Sprintf("%d tags", len(run.GetTags()))
	}
	return l
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339Nano)
}

type runID struct {
	Run string `json:"run" jsonschema:"the id of a run"`
}

// doGetRun is the tool get_run.
func doGetRun(ctx context.Context, c *call, in runID) (out map[string]any, err error) {
	run, err := c.server.client.Shown(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	body, err := pb.MarshalJSON(run)
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	return out, err
}

type getLogIn struct {
	runID
	Stream   string `json:"stream,omitempty" jsonschema:"stdout or stderr; default both, in their order"`
	FromLine int64  `json:"from_line,omitempty" jsonschema:"begin at this line, 1 and up"`
	Tail     int64  `json:"tail,omitempty" jsonschema:"only so many last lines"`
	Next     string `json:"next,omitempty" jsonschema:"from the result before, to read on"`
	MaxBytes int    `json:"max_bytes,omitempty" jsonschema:"bytes of output at most; default 16384, at most 262144"`
}

type getLogOut struct {
	Run    string `json:"run"`
	State  string `json:"state"`
	Output string `json:"output"`
	Next   string `json:"next,omitempty" jsonschema:"there is more behind this: give it back as next"`
	Before int64  `json:"cut_before,omitempty" jsonschema:"bytes of the last lines that were left out before this"`
	Note   string `json:"note,omitempty"`
}

// errEnough ends the reading of a log.
var errEnough = errors.New("enough")

// doGetLog is the tool get_log.
func doGetLog(ctx context.Context, c *call, in getLogIn) (out getLogOut, err error) {
	p, err := partOf(in)
	if err != nil {
		return out, err
	}
	run, err := c.server.client.Status(ctx, in.Run)
	if err != nil {
		return out, err
	}
	out.Run, out.State = run.GetId(), run.GetState().String()
	if run.GetLogSubject() == "" {
		out.Note = "it has printed nothing yet"
		return out, nil
	}
	result, err := c.server.client.Follow(ctx, run, p.opts, p.take)
	if err != nil && !errors.Is(err, errEnough) {
		return out, err
	}
	if result.Truncated {
		out.Note = "the beginning is no longer stored"
	}
	if in.Tail > 0 {
		_, out.Output, out.Before = p.text.Cut(p.most)
		if out.Before == 0 {
			out.Output, _, _ = p.text.Cut(p.most)
		}
		return out, nil
	}
	out.Output, _, _ = p.text.Cut(p.most)
	out.Next = p.next
	return out, nil
}

// part is the part of a log that is wanted.
type part struct {
	opts   client.FollowOptions
	stream string
	text   clip.Text
	most   int
	from   place // where the caller was left, and the bytes of that record that it has
	used   int
	now    place
	next   string
}

func partOf(in getLogIn) (*part, error) {
	most, err := reading{MaxBytes: in.MaxBytes}.most()
	if err != nil {
		return nil, err
	}
	p := &part{most: most, stream: in.Stream}
	if in.Next != "" {
		if err := p.goOn(in.Next); err != nil {
			return nil, err
		}
	}
	switch p.stream {
	case "":
	case "stdout":
		p.opts.Streams = []lines.Stream{lines.Stdout}
	case "stderr":
		p.opts.Streams = []lines.Stream{lines.Stderr}
	default:
		return nil, fmt.Errorf("cannot use stream %q: it is stdout or stderr", clip.Short(in.Stream, 100))
	}
	switch {
	case in.FromLine != 0 && in.Tail != 0, in.Next != "" && (in.FromLine != 0 || in.Tail != 0):
		return nil, errors.New("cannot use more than one of from_line, tail and next")
	case in.FromLine < 0 || in.Tail < 0:
		return nil, errors.New("cannot use a negative line: from_line and tail are 1 or more")
	}
	p.opts.FromPos, p.opts.Tail = in.FromLine, in.Tail
	p.opts.Message = func(seq uint64) { p.now.seq, p.now.record = seq, 0 }
	if in.Tail > 0 {
		p.text.TailMax = most
	} else {
		p.text.HeadMax = most
	}
	return p, nil
}

// goOn reads what an earlier result has as next: the stream, a place there, and
// how many bytes of that record are known.
func (p *part) goOn(next string) error {
	stream, at, ok := strings.Cut(next, "@")
	at, used, ok2 := strings.Cut(at, "+")
	var err error
	p.used, err = strconv.Atoi(used)
	places, err2 := placesOf("run@" + at)
	if !ok || !ok2 || err != nil || err2 != nil || len(places) != 1 || p.used < 0 {
		return fmt.Errorf("invalid next %q: give it back as it came", clip.Short(next, 100))
	}
	if p.stream != "" && p.stream != stream {
		return fmt.Errorf("cannot read %s on: next is of another stream", clip.Short(p.stream, 100))
	}
	p.stream, p.from = stream, places[0]
	p.opts.FromSeq = p.from.seq
	return nil
}

// take keeps a record, as much of it as there is room for.
func (p *part) take(rec lines.Record) error {
	p.now.record++
	if rec.End != nil || rec.Gap != nil || p.now.seq == p.from.seq && p.now.record < p.from.record {
		return nil
	}
	text := rec.Text
	if !rec.Open {
		text = append(text[:len(text):len(text)], '\n')
	}
	had := 0
	if p.now.seq == p.from.seq && p.now.record == p.from.record {
		had = min(p.used, len(text))
	}
	text = text[had:]
	room := p.most - int(p.text.Total)
	if p.opts.Tail > 0 || len(text) <= room {
		_, _ = p.text.Write(text)
		return nil
	}
	text = clip.EndAtRune(text[:room])
	_, _ = p.text.Write(text)
	p.next = fmt.Sprintf("%s@%d.%d+%d", p.stream, p.now.seq, p.now.record, had+len(text))
	return errEnough
}
