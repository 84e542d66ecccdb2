package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// fan is one fan-out while it goes on; one goroutine has it.
type fan struct {
	c      *Client
	verb   subjects.Verb
	target Target
	opts   FanOptions
	blank  func() pb.Message
	// each is given every runner's part; false ends the fan-out.
	each func(answer) bool
	// settled, if set, is waited for before the next batch is asked.
	settled func()

	body     []byte
	oneByOne bool
	group    string // of a fan-out of runs

	inbox    string
	headers  nats.Header // of the requests of a round
	messages chan *nats.Msg
	asked    time.Time
	waiting  map[string]bool // expected, not answered
	seen     map[string]bool // has answered
	answers  int
}

// answer is one runner's part, before its type is known.
type answer struct {
	runner  string
	state   ReplyState
	message pb.Message
	err     error
	asked   time.Time
	elapsed time.Duration
}

// errLeft: the caller wants no more.
var errLeft = errors.New("left")

// do asks everybody and returns when each has been given to f.each.
func (f *fan) do(ctx context.Context, req pb.Request) (err error) {
	names, skipped, err := f.plan(ctx, req)
	if err != nil {
		return err
	}
	f.waiting, f.seen = map[string]bool{}, map[string]bool{}
	if f.opts.Expected != nil {
		f.opts.Expected(names)
	}
	if err := f.run(ctx, names); err != nil {
		return err
	}
	for _, name := range skipped {
		if !f.seen[name] && !f.each(answer{runner: name, state: ReplySkipped}) {
			return errLeft
		}
	}
	if short := f.short(); short > 0 {
		return &tooFewError{short, f.opts.Expect}
	}
	return nil
}

// plan says who is asked and who is left out.
func (f *fan) plan(ctx context.Context, req pb.Request) (names, skipped []string, err error) {
	switch {
	case f.opts.Batch < 0:
		return nil, nil, fmt.Errorf("cannot use batch %d: it must be 1 or more", f.opts.Batch)
	case f.opts.Expect < 0:
		return nil, nil, fmt.Errorf("cannot expect %d answers", f.opts.Expect)
	}
	if err := f.target.Validate(); err != nil {
		return nil, nil, err
	}
	f.target.All = f.target.On == ""
	if f.body, err = encode(req); err != nil {
		return nil, nil, err
	}
	if f.verb == subjects.Task {
		f.group = req.GetMetadata().GetId()
	}
	if f.opts.Only != nil {
		f.oneByOne = true
		return f.opts.Only, nil, nil
	}
	in, out, err := f.c.matching(ctx, f.target)
	if err != nil {
		return nil, nil, err
	}
	names, skipped = runnerNames(in), runnerNames(out)
	if f.opts.Limit != "" {
		limit, err := parseLimit(f.opts.Limit, len(names))
		if err != nil {
			return nil, nil, err
		}
		names = names[:min(limit, len(names))]
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(f.opts.Except, name) })
	f.oneByOne = f.opts.Batch > 0 || f.opts.Limit != "" || len(f.opts.Except) > 0
	return names, skipped, nil
}

func runnerNames(runners []Runner) []string {
	var names []string
	for _, r := range runners {
		names = append(names, r.Card.GetName())
	}
	return names
}

func (f *fan) run(ctx context.Context, names []string) error {
	if len(names) == 0 && f.opts.Expect == 0 {
		return nil
	}
	f.inbox = f.c.nc.NewInbox()
	// Room for everybody and then some: a thousand large replies at once are
	// what was asked for, not a slow consumer.
	f.messages = make(chan *nats.Msg, 2*len(names)+spareAnswers)
	sub, err := f.c.nc.ChanSubscribe(f.inbox+".*", f.messages)
	if err != nil {
		return fmt.Errorf("cannot wait for answers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil && !errors.Is(err, nats.ErrTypeSubscription) {
		return fmt.Errorf("cannot wait for answers: %w", err)
	}
	if !f.oneByOne {
		return f.round(ctx, names, func() error {
			return f.publish(f.c.space.Request(f.verb, f.target.scope()), everybody)
		})
	}
	size := f.opts.Batch
	if size <= 0 {
		size = max(1, len(names))
	}
	for begin := 0; begin < len(names); begin += size {
		if begin > 0 && f.opts.Enough != nil && f.opts.Enough() {
			return nil
		}
		batch := names[begin:min(begin+size, len(names))]
		if err := f.round(ctx, batch, func() error { return f.publishEach(batch) }); err != nil {
			return err
		}
		if f.settled != nil {
			f.settled()
		}
	}
	return nil
}

const (
	// spareAnswers is room for runners that no card tells of.
	spareAnswers = 4096
	// everybody ends the reply subject of a request that is not one runner's alone.
	everybody = "all"
)

func (f *fan) publishEach(names []string) error {
	for _, name := range names {
		if err := f.publish(f.c.space.Request(f.verb, subjects.At(name)), name); err != nil {
			return err
		}
	}
	return nil
}

// publish asks. The end of the reply subject tells whom: "nobody is there" says
// it no other way.
func (f *fan) publish(subject, whom string) error {
	msg := &nats.Msg{Subject: subject, Reply: f.inbox + "." + whom, Data: f.body, Header: maps.Clone(f.headers)}
	if f.oneByOne && f.group != "" {
		msg.Header.Set(subjects.HeaderGroup, f.group)
	}
	if f.target.Where != "" && !f.oneByOne {
		msg.Header.Set(subjects.HeaderWhere, f.target.Where)
		msg.Header.Set(subjects.HeaderAnswer, subjects.AnswerAlways)
	}
	if err := f.c.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("cannot ask %s: %w", subject, err)
	}
	return nil
}

// round asks and then waits for these, or until the time is over.
func (f *fan) round(ctx context.Context, names []string, ask func() error) error {
	patience := f.opts.Timeout
	if patience <= 0 {
		patience = f.c.timeout
	}
	f.headers = f.c.headers(ctx, patience)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, name := range names {
		f.waiting[name] = true
	}
	ctx, done := f.c.deniable(ctx, f.isMine)
	defer done()
	f.asked = time.Now()
	if err := ask(); err != nil {
		return err
	}
	for len(f.waiting) > 0 || f.short() > 0 {
		var err error
		select {
		case msg := <-f.messages:
			if isNobody(msg) {
				err = f.absent(strings.TrimPrefix(msg.Subject, f.inbox+"."))
			} else {
				err = f.take(msg)
			}
		case <-timer.C:
			return f.giveUp(patience)
		case <-ctx.Done():
			err = fmt.Errorf("cannot wait for answers: %w", context.Cause(ctx))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isMine knows what the fan-out needs: any of its requests, and its inbox.
func (f *fan) isMine(denied string) bool {
	return strings.HasPrefix(denied, f.c.space.Prefix()+"."+string(f.verb)+".") || strings.HasPrefix(denied, f.inbox)
}

// isNobody recognises the server's word that nobody listens.
func isNobody(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}

// absent makes missing whom the server knows to be away.
func (f *fan) absent(whom string) error {
	if !f.oneByOne {
		return f.giveUp(0)
	}
	if !f.waiting[whom] {
		return nil
	}
	delete(f.waiting, whom)
	return f.missing(whom, fmt.Errorf("runner %s is %w", whom, ErrOffline))
}

func (f *fan) short() int { return max(0, f.opts.Expect-f.answers) }

// giveUp makes those that have not answered missing.
func (f *fan) giveUp(patience time.Duration) error {
	names := slices.Sorted(maps.Keys(f.waiting))
	clear(f.waiting)
	for _, name := range names {
		err := fmt.Errorf("%w from runner %s in %s", ErrNoAnswer, name, patience)
		if patience == 0 {
			err = fmt.Errorf("runner %s is %w", name, ErrOffline)
		}
		if err := f.missing(name, err); err != nil {
			return err
		}
	}
	return nil
}

func (f *fan) missing(name string, why error) error {
	if !f.each(answer{runner: name, state: ReplyMissing, err: why, asked: f.asked}) {
		return errLeft
	}
	return nil
}

// take files an answer. A runner's second one, from a duplicated request, is
// not counted.
func (f *fan) take(msg *nats.Msg) error {
	a := f.read(msg)
	if a.runner == "" || f.seen[a.runner] {
		return nil
	}
	expected := f.waiting[a.runner]
	if a.state == ReplySkipped && !expected {
		return nil // its card says so too
	}
	f.seen[a.runner] = true
	delete(f.waiting, a.runner)
	if a.state != ReplySkipped {
		f.answers++
		switch {
		case !expected:
			a.state = ReplyUnexpected
		case a.err != nil:
			a.state = ReplyFailed
		default:
			a.state = ReplyOK
		}
		if f.opts.Answered != nil {
			f.opts.Answered(a.runner)
		}
	}
	if !f.each(a) {
		return errLeft
	}
	return nil
}

func (f *fan) read(msg *nats.Msg) answer {
	a := answer{runner: msg.Header.Get(headerRunner), asked: f.asked, elapsed: time.Since(f.asked)}
	if f.target.Where != "" {
		var skip struct {
			Runner  string `json:"runner"`
			Skipped bool   `json:"skipped"`
		}
		if len(msg.Data) < 256 && json.Unmarshal(msg.Data, &skip) == nil && skip.Skipped {
			a.state = ReplySkipped
			return a
		}
	}
	a.message = f.blank()
	a.err = decode(msg, a.message)
	return a
}

// parseLimit reads "N" or "N%" of a number of runners; any share of some is at
// least one.
func parseLimit(s string, of int) (int, error) {
	number, isShare := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n <= 0 || isShare && n > 100:
		return 0, fmt.Errorf("cannot use limit %q: it must be a number such as 10 or a share such as 25%%", s)
	case isShare:
		return max(1, of*n/100), nil
	}
	return n, nil
}
