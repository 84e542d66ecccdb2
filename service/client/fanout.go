package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Request is what a fan-out asks, and of whom. R is the type of the replies, a
// pointer to a generated message.
type Request[R pb.Message] struct {
	// Verb names the endpoint: one of package subjects, or one of your own.
	Verb subjects.Verb
	// Target says which runners are meant; All is implied.
	Target Target
	// Body is sent to each.
	Body pb.Request
}

// FanOptions say how many are asked at once and how many must answer. The zero
// value asks all of them at once.
type FanOptions struct {
	// Timeout is how long each has to answer. Default: the client's.
	Timeout time.Duration
	// Limit asks at most so many of the runners that match ("10") or such a share of
	// them ("25%"), the first by name. Empty: all.
	Limit string
	// Except leaves these out, of the runners that match and are within Limit.
	Except []string
	// Only asks exactly these, whatever their cards say; Limit and Except don't count then.
	Only []string
	// Batch asks so many at a time; for runs, the next batch waits until those of the
	// last have ended. 0: all at once.
	Batch int
	// Expect is how many must answer; fewer are ErrTooFew.
	Expect int
	// Expected, if set, is told whose answers are waited for, before any of them
	// is asked.
	Expected func(names []string)
	// Answered, if set, is told of each runner that answers, as it does.
	Answered func(runner string)
	// Enough, if set, is asked before each batch but the first; true leaves the
	// rest alone.
	Enough func() bool
}

// ReplyState says how a runner took part in a fan-out.
type ReplyState int

// The states of a Reply.
const (
	// ReplyOK and ReplyFailed: it was meant and has answered.
	ReplyOK ReplyState = iota + 1
	ReplyFailed
	// ReplySkipped: it is online and the selector leaves it out.
	ReplySkipped
	// ReplyMissing: it is online by its card and did not answer.
	ReplyMissing
	// ReplyUnexpected: it answered, though it has no online card that matches.
	ReplyUnexpected
)

var replyStates = [...]string{"none", "ok", "failed", "skipped", "missing", "unexpected"}

// String is the state's name, such as "missing".
func (s ReplyState) String() string {
	if s < 0 || int(s) >= len(replyStates) {
		return fmt.Sprintf("ReplyState(%d)", int(s))
	}
	return replyStates[s]
}

// Reply is one runner's part in a fan-out.
type Reply[R pb.Message] struct {
	Runner string
	State  ReplyState
	// Message is what it answered; the zero value if State is ReplySkipped or
	// ReplyMissing. It may be there beside an Err: what is known all the same.
	Message R
	// Err is a *RemoteError, ErrNoAnswer, or why the answer can't be read.
	Err error
	// Asked is when it was asked, Elapsed how long the answer took from then.
	Asked   time.Time
	Elapsed time.Duration
}

// FanOut asks every runner that the request's target means. It yields one Reply for
// each, those that answer first and as they come, and ends as soon as all whose cards
// match have answered, else when their time is over. A failed runner is no error of
// the sequence: an error is the last pair, and says why the fan-out could not be made
// or, for ErrTooFew, what it lacks. If the loop ends early, runners that were not
// asked yet are left alone.
func FanOut[R pb.Message](ctx context.Context, c *Client, req Request[R], opts FanOptions) iter.Seq2[Reply[R], error] {
	return func(yield func(Reply[R], error) bool) {
		var none R
		f := &fanOut{
			c: c, verb: req.Verb, target: req.Target, opts: opts,
			blank: func() pb.Message { return none.ProtoReflect().Type().New().Interface() },
		}
		left := false
		f.each = func(a answer) bool {
			reply := Reply[R]{Runner: a.runner, State: a.state, Err: a.err, Asked: a.asked, Elapsed: a.elapsed}
			if a.message != nil {
				reply.Message = a.message.(R)
			}
			left = !yield(reply, nil)
			return !left
		}
		if err := f.do(ctx, req.Body); err != nil && !left {
			yield(Reply[R]{}, err)
		}
	}
}

// FanResult is a fan-out that is over, runner by runner.
type FanResult[R pb.Message] struct {
	FanLists
	// Answers of OK, Failed and Unexpected, by runner.
	Answers map[string]Reply[R]
}

// FanLists compare the answers with the cards: every runner that was meant is in
// one of the first four lists, each sorted by name.
type FanLists struct {
	// OK and Failed answered.
	OK, Failed []string
	// Skipped are online and left out by the selector.
	Skipped []string
	// Missing are online by their cards and did not answer.
	Missing []string
	// Unexpected answered, though no online card of theirs matches.
	Unexpected []string
	// Errors of those that failed, by runner.
	Errors map[string]error
	// Reasons why those are missing that are, by runner.
	Reasons map[string]error
	// Short: fewer have answered than FanOptions.Expect, by so many.
	Short int
}

// Complete says that everybody who was meant has answered.
func (l *FanLists) Complete() bool { return len(l.Missing) == 0 && l.Short == 0 }

// Add files one runner, for a loop over FanOut.
func (l *FanLists) Add(runner string, state ReplyState, err error) {
	list := map[ReplyState]*[]string{
		ReplyOK: &l.OK, ReplyFailed: &l.Failed, ReplySkipped: &l.Skipped, ReplyMissing: &l.Missing, ReplyUnexpected: &l.Unexpected,
	}[state]
	*list = append(*list, runner)
	if err == nil {
		return
	}
	errs := &l.Errors
	if state == ReplyMissing {
		errs = &l.Reasons
	}
	if *errs == nil {
		*errs = map[string]error{}
	}
	(*errs)[runner] = err
}

func (l *FanLists) sort() {
	for _, list := range [][]string{l.OK, l.Failed, l.Skipped, l.Missing, l.Unexpected} {
		slices.Sort(list)
	}
}

// Collect waits for the end of a fan-out. Too few answers are no error here: see
// FanLists.Short.
func Collect[R pb.Message](replies iter.Seq2[Reply[R], error]) (*FanResult[R], error) {
	result := &FanResult[R]{Answers: map[string]Reply[R]{}}
	for reply, err := range replies {
		var few *tooFewError
		switch {
		case errors.As(err, &few):
			result.Short = few.short
			continue
		case err != nil:
			return nil, err
		}
		result.Add(reply.Runner, reply.State, reply.Err)
		if reply.State != ReplySkipped && reply.State != ReplyMissing {
			result.Answers[reply.Runner] = reply
		}
	}
	result.sort()
	return result, nil
}

// Replies are the messages of those that answered without an error, by runner.
func (r *FanResult[R]) Replies() map[string]R {
	replies := map[string]R{}
	for name, answer := range r.Answers {
		if answer.Err == nil {
			replies[name] = answer.Message
		}
	}
	return replies
}

// tooFewError is ErrTooFew with its number.
type tooFewError struct{ short, expected int }

func (e *tooFewError) Error() string {
	return fmt.Sprintf("%v: %d of %d", ErrTooFew, e.expected-e.short, e.expected)
}

func (e *tooFewError) Is(target error) bool { return target == ErrTooFew }
