package mcp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/mcp/clip"
	"github.com/runnel-io/runnel/service/store"
)

const (
	// defaultWait is how long a call waits for runs: less than the minute that
	// clients commonly give a call. maxWait is how long it does if asked.
	defaultWait, maxWait = 25, 600
	// The bytes of output in one result.
	minOutput, defaultOutput, maxOutput = 64, 16 << 10, 256 << 10
	// maxRuns is how many runs one call follows, and keptOutput the bytes of
	// output that it has in memory.
	maxRuns, keptOutput = 500, 8 << 20
	// logLook is how often a run is looked at that has no log yet.
	logLook = 200 * time.Millisecond
	// Progress comes so often while there is output, and so often without.
	busyProgress, idleProgress = time.Second, 10 * time.Second
)

// reading is what calls that read output have in common.
type reading struct {
	WaitSeconds *int `json:"wait_seconds,omitempty" jsonschema:"how long to wait for the end, 0 to 600; default 25. What goes on longer comes with a cursor for follow"`
	MaxBytes    int  `json:"max_bytes,omitempty" jsonschema:"bytes of output in the result at most, for all runs together; default 16384, at most 262144"`
}

func (r reading) wait() (time.Duration, error) {
	if r.WaitSeconds == nil {
		return defaultWait * time.Second, nil
	}
	if *r.WaitSeconds < 0 || *r.WaitSeconds > maxWait {
		return 0, fmt.Errorf("cannot use wait_seconds %d: it is 0 to %d", *r.WaitSeconds, maxWait)
	}
	return time.Duration(*r.WaitSeconds) * time.Second, nil
}

func (r reading) most() (int, error) {
	switch {
	case r.MaxBytes == 0:
		return defaultOutput, nil
	case r.MaxBytes < minOutput || r.MaxBytes > maxOutput:
		return 0, fmt.Errorf("cannot use max_bytes %d: it is %d to %d", r.MaxBytes, minOutput, maxOutput)
	}
	return r.MaxBytes, nil
}

// place is a record of a run's log: number 1 and up in the message with this
// Runner-Seq. The zero value is before all.
type place struct {
	run    string
	seq    uint64
	record int
}

// cursorOf is a list of places as a client gets it.
func cursorOf(places []place) string {
	var parts []string
	for _, p := range places {
		parts = append(parts, fmt.Sprintf("%s@%d.%d", p.run, p.seq, p.record))
	}
	return strings.Join(parts, " ")
}

func placesOf(cursor string) (places []place, err error) {
	for _, part := range strings.Fields(cursor) {
		var p place
		var at, seq, record string
		var ok, ok2 bool
		p.run, at, ok = strings.Cut(part, "@")
		seq, record, ok2 = strings.Cut(at, ".")
		var err, err2 error
		p.seq, err = strconv.ParseUint(seq, 10, 64)
		p.record, err2 = strconv.Atoi(record)
		if !ok || !ok2 || err != nil || err2 != nil || p.record < 0 {
			return nil, fmt.Errorf("invalid cursor: %q is no place in a log; give one back as it came", clip.Short(part, 100))
		}
		places = append(places, p)
	}
	return places, nil
}

// watched is a run that a call follows.
type watched struct {
	place
	record *pb.Run
	text   clip.Text
	first  int64 // number of the first line that was read
	last   string
	ended  bool
	note   string
}

// watch is one call's following of runs.
type watch struct {
	server *Server
	mu     sync.Mutex // of the runs while they are followed
	runs   []*watched
	most   int
}

func (s *Server) watch(runs []*watched, most int) *watch {
	kept := max(1, min(most, keptOutput/max(1, len(runs))))
	for _, r := range runs {
		r.text = clip.Text{HeadMax: kept / 2, TailMax: kept - kept/2}
	}
	return &watch{server: s, runs: runs, most: most}
}

// follow reads what comes until all have ended or the wait is over. It returns an
// error only when the call is.
func (w *watch) follow(ctx context.Context, c *call, wait time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var wg sync.WaitGroup
	for _, r := range w.runs {
		wg.Go(func() { w.one(limited, r) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	w.report(ctx, c, done)
	return ctx.Err()
}

// report tells how it goes until all is done.
func (w *watch) report(ctx context.Context, c *call, done <-chan struct{}) {
	ticker := time.NewTicker(busyProgress)
	defer ticker.Stop()
	said, saidAt := "", time.Now()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		if text := w.state(); text != said || time.Since(saidAt) >= idleProgress {
			c.say(ctx, text)
			said, saidAt = text, time.Now()
		}
	}
}

// state is how all are doing, in a line.
func (w *watch) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ended, bytes, last := 0, int64(0), ""
	for _, r := range w.runs {
		bytes += r.text.Total
		if r.ended {
			ended++
		}
		if r.last != "" {
			last = "; " + r.record.GetRunner() + ": " + r.last
		}
	}
	return fmt.Sprintf("%d of %d runs ended, %d bytes of output%s", ended, len(w.runs), bytes, last)
}

// one follows one run.
func (w *watch) one(ctx context.Context, r *watched) {
	err := w.read(ctx, r)
	if err == nil {
		var final *pb.Run
		if final, err = w.server.client.Wait(ctx, r.record.GetId()); err == nil {
			w.mu.Lock()
			r.record, r.ended = final, true
			w.mu.Unlock()
			return
		}
	}
	if ctx.Err() == nil {
		w.mu.Lock()
		r.note = "its output can't be read: " + err.Error()
		w.mu.Unlock()
	}
}

// read reads a run's log up to its end.
func (w *watch) read(ctx context.Context, r *watched) error {
	run, err := w.withLog(ctx, r.record)
	if err != nil || run.GetLogSubject() == "" {
		return err
	}
	had, now, first := r.place, r.place, true
	opts := client.FollowOptions{Live: true, FromSeq: had.seq, Message: func(seq uint64) { now.seq, now.record = seq, 0 }}
	_, err = w.server.client.Follow(ctx, run, opts, func(rec lines.Record) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		now.record++
		if first && had.seq > 0 && now.seq > had.seq {
			r.note = "what came before is no longer stored"
		}
		first = false
		if now.seq < had.seq || now.seq == had.seq && now.record <= had.record {
			return nil
		}
		r.place = now
		r.take(rec)
		return nil
	})
	return err
}

// take keeps a record.
func (r *watched) take(rec lines.Record) {
	switch {
	case rec.End != nil:
		return
	case rec.Gap != nil:
		r.note = "lines were dropped while it ran: " + fmt.Sprint(rec.Gap.Lines)
		return
	}
	if r.first == 0 {
		r.first = rec.Pos
	}
	_, _ = r.text.Write(rec.Text)
	if !rec.Open {
		_, _ = r.text.Write([]byte{'\n'})
	}
	if len(rec.Text) > 0 {
		r.last = clip.Short(clip.Valid(rec.Text), 200)
	}
}

// withLog waits until a run has a log, or has ended without.
func (w *watch) withLog(ctx context.Context, run *pb.Run) (*pb.Run, error) {
	for run.GetLogSubject() == "" && !store.Final(run.GetState()) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(logLook):
		}
		var err error
		if run, err = w.server.client.Status(ctx, run.GetId()); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// runResult is how a run is doing, and what it has printed since the cursor.
type runResult struct {
	Run      string `json:"run" jsonschema:"its id"`
	Runner   string `json:"runner"`
	State    string `json:"state" jsonschema:"PENDING, RUNNING, COMPLETE, FAILED, ABORTED or TIMEDOUT"`
	ExitCode *int32 `json:"exit_code,omitempty" jsonschema:"there once it has ended by itself"`
	Signal   string `json:"signal,omitempty"`
	Reason   string `json:"reason,omitempty" jsonschema:"why it ended: exit, signal, timeout, oom, aborted, lost and so on"`
	Error    string `json:"error,omitempty"`
	Output   string `json:"output" jsonschema:"both streams in their order"`
	Cut      *cut   `json:"cut,omitempty" jsonschema:"what was left out of output"`
	Note     string `json:"note,omitempty"`
}

// cut says what is not in a result.
type cut struct {
	Bytes    int64 `json:"bytes" jsonschema:"bytes of output that were left out"`
	FromLine int64 `json:"from_line" jsonschema:"the line to read on from with get_log"`
}

// results of all runs, within the limit together.
func (w *watch) results(ctx context.Context) []runResult {
	sizes := make([]int, len(w.runs))
	for i, r := range w.runs {
		sizes[i] = r.text.Size()
	}
	parts := clip.Shares(sizes, w.most)
	out := make([]runResult, len(w.runs))
	for i, r := range w.runs {
		if !r.ended {
			if now, err := w.server.client.Status(ctx, r.record.GetId()); err == nil {
				r.record = now
			}
		}
		out[i] = r.result(parts[i])
	}
	return out
}

func (r *watched) result(most int) runResult {
	run := r.record
	res := runResult{
		Run: run.GetId(), Runner: run.GetRunner(), State: run.GetState().String(), Signal: run.GetSignal(), Reason: run.GetReason(),
		Error: clip.Short(run.GetError(), maxError), Note: r.note,
	}
	if code := run.GetExitCode(); run.GetState() == pb.State_COMPLETE && run.GetSignal() == "" {
		res.ExitCode = &code
	}
	head, tail, missing := r.text.Cut(most)
	res.Output = head
	if missing > 0 {
		line := r.first + int64(strings.Count(head, "\n"))
		res.Cut = &cut{Bytes: missing, FromLine: line}
		res.Output += fmt.Sprintf("\n[%d bytes were cut here; get_log with from_line %d has them]\n%s", missing, line, tail)
	}
	return res
}

// maxError is how much of an error is in a result.
const maxError = 2000

// cursor leads on from where the runs that go on were left; "" if none does.
func (w *watch) cursor() string {
	var places []place
	for _, r := range w.runs {
		if !r.ended {
			places = append(places, r.place)
		}
	}
	return cursorOf(places)
}

type followIn struct {
	Runs   []string `json:"runs,omitempty" jsonschema:"ids of runs, to be read from their beginning"`
	Cursor string   `json:"cursor,omitempty" jsonschema:"from the result before, to go on where that ended"`
	reading
}

type followOut struct {
	Runs    []runResult `json:"runs"`
	Ended   bool        `json:"ended" jsonschema:"all of them have ended"`
	Cursor  string      `json:"cursor,omitempty" jsonschema:"give it to follow, for what comes next of the runs that go on"`
	Summary string      `json:"summary"`
}

// doFollow is the tool follow.
func doFollow(ctx context.Context, c *call, in followIn) (out followOut, err error) {
	s := c.server
	places, err := placesOf(in.Cursor)
	if err != nil {
		return out, err
	}
	for _, id := range in.Runs {
		places = append(places, place{run: id})
	}
	switch {
	case len(places) == 0:
		return out, errors.New("cannot follow: name runs, or give the cursor of a result")
	case len(places) > maxRuns:
		return out, fmt.Errorf("cannot follow %d runs at once: %d at most", len(places), maxRuns)
	}
	wait, err := in.wait()
	if err != nil {
		return out, err
	}
	most, err := in.most()
	if err != nil {
		return out, err
	}
	var runs []*watched
	for _, p := range places {
		run, err := s.client.Status(ctx, p.run)
		if err != nil {
			return out, err
		}
		runs = append(runs, &watched{place: p, record: run})
	}
	w := s.watch(runs, most)
	if err := w.follow(ctx, c, wait); err != nil {
		return out, err
	}
	return w.out(ctx), nil
}

func (w *watch) out(ctx context.Context) followOut {
	out := followOut{Runs: w.results(ctx), Cursor: w.cursor()}
	out.Ended = out.Cursor == ""
	count := map[string]int{}
	for _, r := range out.Runs {
		switch {
		case r.ExitCode != nil && *r.ExitCode == 0:
			count["ok"]++
		case r.ExitCode != nil:
			count["failed"]++
		default:
			count[strings.ToLower(r.State)]++
		}
	}
	var parts []string
	for _, what := range []string{"ok", "failed", "complete", "aborted", "timedout", "running", "pending"} {
		if n := count[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	out.Summary = fmt.Sprintf("%d runs: %s", len(out.Runs), strings.Join(parts, ", "))
	if !out.Ended {
		out.Summary += "; call follow with the cursor for the rest"
	}
	return out
}
