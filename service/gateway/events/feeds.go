package events

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/store"
)

const (
	// shownRuns is how many runs a stream begins with, beside all that go on, and
	// shownJobs how many jobs that have ended.
	shownRuns = 200
	shownJobs = 200
	// offlineLook is how often runners are looked at of which nothing was heard.
	offlineLook = time.Second
)

// feedOf is what a topic follows, the kind of its events, and the data of one.
func (s *sender) feedOf(t *topic) (f *feed.Feed, kind string, data func(feed.Entry) []byte) {
	switch t.kind {
	case "fleet":
		return s.Feeds.Fleet, "runner", s.runnerData
	case "runs":
		return s.Feeds.Runs, "run", runData
	}
	return s.Feeds.Jobs, "job", jobData
}

// followFeed sends what is there, unless the client has it, and then what changes.
func (s *sender) followFeed(ctx context.Context, t *topic) error {
	f, kind, data := s.feedOf(t)
	if err := f.Ready(ctx); err != nil {
		return err
	}
	rev, _ := strconv.ParseUint(t.at, 10, 64)
	begun := t.at != ""
	var swept time.Time // up to then it was looked for runners that went offline
	for {
		changed := f.Changed()
		entries, upTo, ok := f.Since(rev, feedBatch)
		if !ok || !begun {
			if begun {
				if err := s.send(t, "", "reset", []byte(`{"topic":"`+t.name()+`"}`)); err != nil {
					return err
				}
			}
			var err error
			if rev, err = s.everything(ctx, t); err != nil {
				return err
			}
			begun, swept = true, f.Now()
			continue
		}
		for _, e := range entries {
			if t.kind == "job" && e.Key != t.id {
				continue
			}
			if err := s.send(t, strconv.FormatUint(e.Rev, 10), kind, data(e)); err != nil {
				return err
			}
		}
		rev = upTo
		s.stands(t, strconv.FormatUint(rev, 10))
		if len(entries) == feedBatch {
			continue
		}
		var look <-chan time.Time
		if t.kind == "fleet" {
			now := f.Now()
			if err := s.sweep(t, swept, now); err != nil {
				return err
			}
			swept = now
			look = time.After(offlineLook)
		}
		select {
		case <-changed:
		case <-look:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// everything sends what there is now, without ids: a client that is cut off on
// the way begins again. Then it says that this was all.
func (s *sender) everything(ctx context.Context, t *topic) (rev uint64, err error) {
	f, kind, data := s.feedOf(t)
	send := func(body []byte) {
		if err == nil {
			err = s.send(t, "", kind, body)
		}
	}
	rev = f.Last()
	switch t.kind {
	case "fleet":
		var all []feed.Entry
		all, rev = f.All()
		for _, e := range all {
			send(data(e))
		}
	case "runs":
		if err := s.everyRun(ctx, send); err != nil {
			return 0, err
		}
	case "jobs":
		rev = min(rev, mirrored(s.Mirror.Revision()))
		jobs, err := s.Mirror.Jobs(ctx, shownJobs)
		if err != nil {
			return 0, err
		}
		for _, j := range jobs {
			send(messageData(j.Job))
		}
	case "job":
		job, err := s.Job(ctx, t.id)
		switch {
		case errors.Is(err, client.ErrUnknownJob):
			send(gone("id", t.id))
		case err != nil:
			return 0, err
		default:
			send(messageData(job))
		}
	}
	if err == nil {
		err = s.send(t, strconv.FormatUint(rev, 10), "current", []byte(`{"topic":"`+t.name()+`"}`))
	}
	return rev, err
}

// mirrored is how far the mirror has read the jobs.
func mirrored(revision string) uint64 {
	_, jobs, _ := strings.Cut(revision, ".")
	rev, _ := strconv.ParseUint(jobs, 10, 64)
	return rev
}

// everyRun sends the newest runs, and all that go on.
func (s *sender) everyRun(ctx context.Context, send func([]byte)) error {
	seen := map[string]bool{}
	for _, q := range []*pb.Query{
		{All: true, Limit: shownRuns},
		{All: true, Limit: 1000, States: []pb.State{pb.State_PENDING, pb.State_RUNNING}},
	} {
		reply, err := s.Client.Query(ctx, q)
		if errors.Is(err, client.ErrNoRunners) {
			return nil // nobody can tell, nobody runs anything
		}
		if err != nil {
			return err
		}
		for _, run := range reply.GetRuns() {
			if !seen[run.GetId()] {
				seen[run.GetId()] = true
				send(messageData(run))
			}
		}
	}
	return nil
}

// sweep tells of runners whose cards have become too old: nobody writes that.
func (s *sender) sweep(t *topic, since, now time.Time) error {
	all, _ := s.Feeds.Fleet.All()
	for _, e := range all {
		if gone := e.Stored.Add(store.DefaultOnlineFor); gone.After(since) && !gone.After(now) {
			if err := s.send(t, "", "runner", s.runnerData(e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sender) runnerData(e feed.Entry) []byte {
	if e.Body == nil {
		return gone("name", e.Key)
	}
	card := &pb.Card{}
	_ = pb.UnmarshalRecord(e.Body, card) // what can't be read shows nothing but its name
	age := max(s.Feeds.Fleet.Now().Sub(e.Stored), 0)
	body, _ := json.Marshal(struct {
		Name   string          `json:"name"`
		Online bool            `json:"online"`
		Seen   time.Time       `json:"seen"`
		Age    float64         `json:"age"`
		Card   json.RawMessage `json:"card"`
	}{e.Key, age < store.DefaultOnlineFor && card.GetState() != store.StateStopped, e.Stored.UTC(), age.Seconds(), messageData(card)})
	return body
}

func runData(e feed.Entry) []byte {
	if e.Body == nil {
		return gone("id", e.Key)
	}
	run := &pb.Run{}
	if pb.UnmarshalRecord(e.Body, run) != nil {
		return gone("id", e.Key)
	}
	return messageData(run)
}

func jobData(e feed.Entry) []byte {
	if e.Body == nil {
		return gone("id", e.Key)
	}
	job, err := pb.JobOf(e.Body)
	if err != nil {
		return gone("id", e.Key)
	}
	return messageData(job)
}

func messageData(m pb.Message) []byte {
	body, err := pb.MarshalJSON(m)
	if err != nil {
		return []byte("{}")
	}
	return body
}

// gone is the data of a key that is no more.
func gone(field, key string) []byte {
	body, _ := json.Marshal(map[string]any{field: key, "gone": true})
	return body
}
