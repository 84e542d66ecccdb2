package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/store"
)

// place is a record of a log: number 1 and up in the message with this
// Runner-Seq. The zero value is before all.
type place struct {
	seq    uint64
	record int
}

func (p place) String() string { return fmt.Sprintf("%d.%d", p.seq, p.record) }

func (p place) before(q place) bool { return p.seq < q.seq || p.seq == q.seq && p.record < q.record }

func placeOf(text string) (p place, ok bool) {
	seq, record, found := strings.Cut(text, ".")
	var err, err2 error
	p.seq, err = strconv.ParseUint(seq, 10, 64)
	p.record, err2 = strconv.Atoi(record)
	return p, found && err == nil && err2 == nil && p.seq > 0 && p.record > 0
}

// logLook is how often a run is looked at that has no log yet.
const logLook = 200 * time.Millisecond

// logEvents sends the log of one run or several, one after another.
type logEvents struct {
	*eventStream
	g      *Gateway
	prefix string // of ids: says which run, where there are several
	at     place  // the last record that the client has, or will have by end
	end    []byte // the EOF record, not sent yet
}

func (l *logEvents) reset() error {
	l.at = place{}
	return l.event("reset", "", []byte("{}"))
}

// run sends what the client has not of a run's log, up to its EOF record, which
// is kept. A log without one ends, too.
func (l *logEvents) run(ctx context.Context, run *pb.Run) error {
	run, err := l.withLog(ctx, run)
	if err != nil {
		return err
	}
	if run.GetLogSubject() == "" {
		return nil
	}
	var now place
	had := l.at
	opts := client.FollowOptions{Live: true, FromSeq: had.seq, Message: func(seq uint64) { now = place{seq: seq} }}
	first := true
	_, err = l.g.client.Follow(ctx, run, opts, func(r lines.Record) error {
		now.record++
		if first && had.seq > 0 && now.seq > had.seq { // what it had is no longer there
			if err := l.reset(); err != nil {
				return err
			}
		}
		first = false
		if !l.at.before(now) {
			return nil
		}
		text := bytes.TrimSuffix(lines.AppendJSON(nil, r), []byte{'\n'})
		l.at = now
		if r.End != nil {
			l.end = text
			return nil
		}
		return l.event("", l.prefix+now.String(), text)
	})
	return err
}

// withLog waits until a run has a log, or has ended without.
func (l *logEvents) withLog(ctx context.Context, run *pb.Run) (*pb.Run, error) {
	for run.GetLogSubject() == "" && !store.Final(run.GetState()) {
		if err := pause(ctx, logLook); err != nil {
			return nil, err
		}
		var err error
		if run, err = l.g.client.Status(ctx, run.GetId()); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// sendEnd sends the record that was kept: as an event of its own kind for the
// end of all, or as any other. A log without one ends behind its last record.
func (l *logEvents) sendEnd(kind string) error {
	text, at := l.end, l.at
	l.end = nil
	switch {
	case text == nil && kind == "":
		return nil
	case text == nil:
		text, at = []byte("{}"), place{max(at.seq, 1), at.record + 1}
	}
	return l.event(kind, l.prefix+at.String(), text)
}

// isPast says whether a client that is at a place has all of a run's log.
func (g *Gateway) isPast(ctx context.Context, run *pb.Run, at place) (bool, error) {
	if at == (place{}) || !store.Final(run.GetState()) {
		return false, nil
	}
	tip, err := g.client.LogTip(ctx, run)
	last := place{tip.Seq, tip.Records}
	return err == nil && (last.before(at) || tip.Ended && last == at), err
}

// runEvents is a run's log as events.
func (g *Gateway) runEvents(w http.ResponseWriter, r *http.Request) {
	run := g.runIn(w, r)
	if run == nil {
		return
	}
	last := r.Header.Get("Last-Event-ID")
	at, known := placeOf(last)
	if !known {
		at = place{}
	}
	past, err := g.isPast(r.Context(), run, at)
	if g.isOver(w, past, err) {
		return
	}
	ctx, events, done := g.openEvents(w, r)
	defer done()
	if r.Method == http.MethodHead {
		return
	}
	l := &logEvents{eventStream: events, g: g, at: at}
	if last != "" && !known {
		err = l.reset()
	}
	if err == nil {
		err = l.run(ctx, run)
	}
	if err == nil {
		err = l.sendEnd("end")
	}
	g.endedEarly(ctx, err)
}

// isOver answers a client that has everything: by 204, after which browsers don't
// come again.
func (g *Gateway) isOver(w http.ResponseWriter, past bool, err error) bool {
	switch {
	case err != nil:
		writeError(w, http.StatusServiceUnavailable, err.Error())
	case past:
		w.WriteHeader(http.StatusNoContent)
	}
	return past || err != nil
}

// endedEarly says in the log why a stream has ended that should not have. Its
// client comes again and goes on where it was.
func (g *Gateway) endedEarly(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		g.log.Warn("cannot go on with a stream of events", "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
