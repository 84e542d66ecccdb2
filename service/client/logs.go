package client

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
)

// FollowOptions say what of a run's output is wanted. The zero value is all
// there is now.
type FollowOptions struct {
	// Live waits for what is still to come, until the run's end.
	Live bool
	// FromPos begins at a line, from 1; FromByte leaves out so many bytes of the
	// text of Streams; Tail begins so many lines of Streams before the end of what
	// is stored now. At most one of them.
	FromPos, FromByte, Tail int64
	// FromSeq begins at a message of the log, by its Runner-Seq; Message is called
	// before the records of each.
	FromSeq uint64
	Message func(runnerSeq uint64)
	// Pass is asked before a message's records are read, and may have it passed
	// over.
	Pass func(body []byte) bool
	// Sparing holds one message at a time, for readers that may be slow; without
	// Live.
	Sparing bool
	// Since begins at a time.
	Since time.Time
	// Streams narrows to standard output or standard error.
	Streams []lines.Stream

	fresh *logs.Fresh // opened before the run was asked for
}

// Follow reads a run's output: each is called for every record in order, each
// once. It ends by itself and its result tells whether anything was missing.
func (c *Client) Follow(ctx context.Context, run *pb.Run, opts FollowOptions, each func(lines.Record) error) (logs.FollowResult, error) {
	if run.GetRunner() == "" && store.Final(run.GetState()) { // it was removed from the queue: nobody has written a log
		return logs.FollowResult{End: &lines.End{State: run.GetState().String(), Reason: run.GetReason(), Error: run.GetError()}}, nil
	}
	ctx, done := c.link.Deniable(ctx, c.link.Reading(run.GetLogStream()))
	defer done()
	result, err := logs.Follow(ctx, c.link.JS, logs.FollowOptions{
		Stream: run.GetLogStream(), Subject: run.GetLogSubject(),
		FromPos: opts.FromPos, FromByte: opts.FromByte, Tail: opts.Tail, Since: opts.Since, Streams: opts.Streams, Live: opts.Live, Fresh: opts.fresh,
		FromSeq: opts.FromSeq, Message: opts.Message, Pass: opts.Pass, Sparing: opts.Sparing, Ahead: &c.ahead,
		Final: func(ctx context.Context) (bool, error) { return c.isOver(ctx, run.GetId()) },
	}, each)
	return result, link.OrDenied(ctx, err)
}

// LogTip says how far a run's stored output goes.
func (c *Client) LogTip(ctx context.Context, run *pb.Run) (logs.Tip, error) {
	ctx, done := c.link.Deniable(ctx, c.link.Reading(run.GetLogStream()))
	defer done()
	tip, err := logs.ReadTip(ctx, c.link.JS, run.GetLogStream(), run.GetLogSubject())
	return tip, link.OrDenied(ctx, err)
}

// isOver says whether a run has ended. It asks the fleet, because whoever is
// asked finds out that a run's runner is gone; with nobody there, it reads the
// record.
func (c *Client) isOver(ctx context.Context, id string) (bool, error) {
	var run *pb.Run
	reply, err := c.Query(ctx, &pb.Query{Runs: []string{id}})
	if err == nil && len(reply.GetRuns()) == 1 {
		run = reply.GetRuns()[0]
	} else {
		run, err = c.Status(ctx, id)
	}
	if errors.Is(err, store.ErrUnknownRun) {
		return true, nil
	}
	return err == nil && store.Final(run.GetState()), err
}
