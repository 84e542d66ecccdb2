package stream

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/service/store"
)

// Place is a record of a log.
type Place = tails.Place

// PlaceOf reads the id of an event.
func PlaceOf(text string) (p Place, ok bool) { return tails.PlaceOf(text) }

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
	return l.House.Tails.Follow(ctx, run, tails.Options{After: l.At, Reset: l.Reset}, func(records []tails.Record) error {
		for _, r := range records {
			l.At = r.Place
			if r.End {
				l.end = r.Text
				return nil
			}
			if err := l.Event("", l.Prefix+r.Place.String(), r.Text); err != nil {
				return err
			}
		}
		return nil
	})
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
		text, at = []byte("{}"), Place{Seq: max(at.Seq, 1), Record: at.Record + 1}
	}
	return l.Event(kind, l.Prefix+at.String(), text)
}

// IsPast says whether a client that is at a place has all of a run's log.
func IsPast(ctx context.Context, c *client.Client, run *pb.Run, at Place) (bool, error) {
	if at == (Place{}) || !store.Final(run.GetState()) {
		return false, nil
	}
	tip, err := c.LogTip(ctx, run)
	last := Place{Seq: tip.Seq, Record: tip.Records}
	return err == nil && (last.Before(at) || tip.Ended && last == at), err
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
