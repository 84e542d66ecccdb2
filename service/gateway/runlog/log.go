// Package runlog gives a run's log to whoever reads it: as text, as events that go
// on where their reader left off, and as numbered lines for a page that scrolls.
package runlog

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/gateway/stream"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

type server struct{ *room.House }

// Routes are the room's.
func Routes(h *room.House) []room.Route {
	s := &server{h}
	return []room.Route{
		{Method: "GET", Path: "/api/v1/runs/{id}/log", Scope: auth.ScopeRead, Handle: s.runLog},
		{Method: "GET", Path: "/api/v1/runs/{id}/events", Scope: auth.ScopeRead, Handle: s.runEvents},
		{Method: "GET", Path: "/api/v1/runs/{id}/lines", Scope: auth.ScopeRead, Handle: s.runLines},
	}
}

// runIn finds the run that a request names.
func (g *server) runIn(w http.ResponseWriter, r *http.Request) *pb.Run {
	run, err := g.Client.Status(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, client.ErrUnknownRun):
		reply.Error(w, http.StatusNotFound, "Run not found")
		return nil
	case err != nil:
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return nil
	}
	return run
}

// runLog is a run's output as text: both streams in their order, or one of them.
func (g *server) runLog(w http.ResponseWriter, r *http.Request) {
	run := g.runIn(w, r)
	if run == nil {
		return
	}
	opts, err := logOptions(r)
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	tip, err := g.Client.LogTip(r.Context(), run)
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	runs, tips := []*pb.Run{run}, []logs.Tip{tip}
	tag := stream.Tag(runs, tips, fmt.Sprintf("%v %d %d", opts.Streams, opts.FromPos, opts.Tail))
	if len(opts.Streams) == 1 && opts.FromPos == 0 && opts.Tail == 0 {
		stream.Send(w, r, g.House, stream.Text{Runs: runs, Tips: tips, Stream: opts.Streams[0], Tag: tag})
		return
	}
	out, done := reply.Begin(w, r, tag, stream.PlainType)
	if done {
		return
	}
	_, err = g.Client.Follow(r.Context(), run, opts, func(rec lines.Record) error {
		if rec.End != nil || rec.Gap != nil {
			return nil
		}
		_, err := out.Write(rec.Text)
		if err == nil && !rec.Open {
			err = out.WriteByte('\n')
		}
		return err
	})
	stream.Finish(out, g.Log, err)
}

// logOptions reads stream, from (a line's number) and tail (lines).
func logOptions(r *http.Request) (opts client.FollowOptions, err error) {
	q := r.URL.Query()
	switch only := q.Get("stream"); only {
	case "":
	case "stdout", "stderr":
		opts.Streams = []lines.Stream{stream.Named(only)}
	default:
		return opts, fmt.Errorf("invalid stream %q: it is stdout or stderr", only)
	}
	tail, err := stream.Tail(r)
	if err != nil {
		return opts, err
	}
	opts.Tail = int64(tail)
	if text := q.Get("from"); text != "" {
		if opts.FromPos, err = strconv.ParseInt(text, 10, 64); err != nil || opts.FromPos < 1 {
			return opts, fmt.Errorf("invalid from %q: it is the number of a line, at least 1", text)
		}
		if tail > 0 {
			return opts, errors.New("from and tail exclude each other")
		}
	}
	return opts, nil
}

// runEvents is a run's log as events.
func (g *server) runEvents(w http.ResponseWriter, r *http.Request) {
	run := g.runIn(w, r)
	if run == nil {
		return
	}
	last := r.Header.Get("Last-Event-ID")
	at, known := stream.PlaceOf(last)
	if !known {
		at = stream.Place{}
	}
	past, err := stream.IsPast(r.Context(), g.Client, run, at)
	if stream.IsOver(w, past, err) {
		return
	}
	ctx, events, done := stream.Open(g.Life, w, r)
	defer done()
	if r.Method == http.MethodHead {
		return
	}
	l := &stream.Log{Events: events, House: g.House, At: at}
	if last != "" && !known {
		err = l.Reset()
	}
	if err == nil {
		err = l.Run(ctx, run)
	}
	if err == nil {
		err = l.SendEnd("end")
	}
	stream.EndedEarly(ctx, g.Log, err)
}
