package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// runIn finds the run that a request names.
func (g *Gateway) runIn(w http.ResponseWriter, r *http.Request) *pb.Run {
	run, err := g.client.Status(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, client.ErrUnknownRun):
		writeError(w, http.StatusNotFound, "Run not found")
		return nil
	case err != nil:
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return nil
	}
	return run
}

func writeRun(w http.ResponseWriter, run *pb.Run) {
	body, err := pb.MarshalJSON(run)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "cannot encode the reply: "+err.Error())
		return
	}
	writeBody(w, http.StatusOK, body)
}

// showRun is a run's record.
func (g *Gateway) showRun(w http.ResponseWriter, r *http.Request) {
	if run := g.runIn(w, r); run != nil {
		writeRun(w, run)
	}
}

// abortRun asks for a run's end and does not wait for it.
func (g *Gateway) abortRun(w http.ResponseWriter, r *http.Request) {
	run := g.runIn(w, r)
	if run == nil {
		return
	}
	run, err := g.client.Abort(r.Context(), run.GetId(), 0)
	if err != nil {
		code := client.Code(err)
		if code < 400 || code >= 500 {
			code = http.StatusServiceUnavailable
		}
		writeError(w, code, err.Error())
		return
	}
	g.log.Info("a run was aborted over HTTP", "run", run.GetId(), "sub", callerOf(r.Context()).sub)
	writeRun(w, run)
}

// runLog is a run's output as text: both streams in their order, or one of them.
func (g *Gateway) runLog(w http.ResponseWriter, r *http.Request) {
	run := g.runIn(w, r)
	if run == nil {
		return
	}
	opts, err := logOptions(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	tip, err := g.client.LogTip(r.Context(), run)
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	runs, tips := []*pb.Run{run}, []logs.Tip{tip}
	tag := tagOf(runs, tips, fmt.Sprintf("%v %d %d", opts.Streams, opts.FromPos, opts.Tail))
	if len(opts.Streams) == 1 && opts.FromPos == 0 && opts.Tail == 0 {
		g.plainLog(w, r, plainText{runs: runs, tips: tips, stream: opts.Streams[0], tag: tag})
		return
	}
	out, done := begin(w, r, tag, plainType)
	if done {
		return
	}
	_, err = g.client.Follow(r.Context(), run, opts, func(rec lines.Record) error {
		if rec.End != nil || rec.Gap != nil {
			return nil
		}
		_, err := out.Write(rec.Text)
		if err == nil && !rec.Open {
			err = out.WriteByte('\n')
		}
		return err
	})
	g.finish(out, err)
}

// logOptions reads stream, from (a line's number) and tail (lines).
func logOptions(r *http.Request) (opts client.FollowOptions, err error) {
	q := r.URL.Query()
	switch stream := q.Get("stream"); stream {
	case "":
	case "stdout", "stderr":
		opts.Streams = []lines.Stream{streamNamed(stream)}
	default:
		return opts, fmt.Errorf("invalid stream %q: it is stdout or stderr", stream)
	}
	tail, err := tailOf(r)
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
