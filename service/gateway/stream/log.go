package stream

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/store"
)

// Place is a record of a log: number 1 and up in the message with this
// Runner-Seq. The zero value is before all.
type Place struct {
	Seq    uint64
	Record int
}

func (p Place) String() string { return fmt.Sprintf("%d.%d", p.Seq, p.Record) }

func (p Place) before(q Place) bool { return p.Seq < q.Seq || p.Seq == q.Seq && p.Record < q.Record }

// PlaceOf reads the id of an event.
func PlaceOf(text string) (p Place, ok bool) {
	seq, record, found := strings.Cut(text, ".")
	var err, err2 error
	p.Seq, err = strconv.ParseUint(seq, 10, 64)
	p.Record, err2 = strconv.Atoi(record)
	return p, found && err == nil && err2 == nil && p.Seq > 0 && p.Record > 0
}

// Look is how often a run is looked at that has no log yet.
const Look = 200 * time.Millisecond

// Log sends the log of one run or several, one after another.
type Log struct {
	*Events
	House  *room.House
	Prefix string // of ids: says which run, where there are several
	At     Place  // the last record that the client has, or will have by end
	end    []byte // the EOF record, not sent yet
}

// Reset says that everything comes again.
func (l *Log) Reset() error {
	l.At = Place{}
	return l.Event("reset", "", []byte("{}"))
}

// Run sends what the client has not of a run's log, up to its EOF record, which
// is kept. A log without one ends, too.
func (l *Log) Run(ctx context.Context, run *pb.Run) error {
	run, err := l.withLog(ctx, run)
	if err != nil {
		return err
	}
	if run.GetLogSubject() == "" {
		return nil
	}
	var now Place
	had := l.At
	opts := client.FollowOptions{Live: true, FromSeq: had.Seq, Message: func(seq uint64) { now = Place{Seq: seq} }}
	first := true
	_, err = l.House.Client.Follow(ctx, run, opts, func(r lines.Record) error {
		now.Record++
		if first && had.Seq > 0 && now.Seq > had.Seq { // what it had is no longer there
			if err := l.Reset(); err != nil {
				return err
			}
		}
		first = false
		if !l.At.before(now) {
			return nil
		}
		text := bytes.TrimSuffix(lines.AppendJSON(nil, r), []byte{'\n'})
		l.At = now
		if r.End != nil {
			l.end = text
			return nil
		}
		return l.Event("", l.Prefix+now.String(), text)
	})
	return err
}

// withLog waits until a run has a log, or has ended without.
func (l *Log) withLog(ctx context.Context, run *pb.Run) (*pb.Run, error) {
	for run.GetLogSubject() == "" && !store.Final(run.GetState()) {
		if err := Pause(ctx, Look); err != nil {
			return nil, err
		}
		var err error
		if run, err = l.House.Client.Status(ctx, run.GetId()); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// SendEnd sends the record that was kept: as an event of its own kind for the
// end of all, or as any other. A log without one ends behind its last record.
func (l *Log) SendEnd(kind string) error {
	text, at := l.end, l.At
	l.end = nil
	switch {
	case text == nil && kind == "":
		return nil
	case text == nil:
		text, at = []byte("{}"), Place{max(at.Seq, 1), at.Record + 1}
	}
	return l.Event(kind, l.Prefix+at.String(), text)
}

// IsPast says whether a client that is at a place has all of a run's log.
func IsPast(ctx context.Context, c *client.Client, run *pb.Run, at Place) (bool, error) {
	if at == (Place{}) || !store.Final(run.GetState()) {
		return false, nil
	}
	tip, err := c.LogTip(ctx, run)
	last := Place{tip.Seq, tip.Records}
	return err == nil && (last.before(at) || tip.Ended && last == at), err
}

// IsOver answers a client that has everything: by 204, after which browsers don't
// come again.
func IsOver(w http.ResponseWriter, past bool, err error) bool {
	switch {
	case err != nil:
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
	case past:
		w.WriteHeader(http.StatusNoContent)
	}
	return past || err != nil
}

// EndedEarly says in the log why a stream has ended that should not have. Its
// client comes again and goes on where it was.
func EndedEarly(ctx context.Context, log *slog.Logger, err error) {
	if err != nil && ctx.Err() == nil {
		log.Warn("cannot go on with a stream of events", "error", err)
	}
}

// Pause waits, unless the context ends.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
