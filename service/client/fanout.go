package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// FanOptions say how many are asked at once and how many must answer.
type FanOptions struct {
	// Timeout is how long each has to answer. Default: the client's.
	Timeout time.Duration
	// Limit asks at most so many of those that match ("10") or such a share of
	// them ("25%"), first by name. Empty: all.
	Limit string
	// Batch asks so many at a time, and for runs waits for the ends of theirs. 0: all
	// at once.
	Batch int
	// Expect is how many must answer; fewer leave the result incomplete.
	Expect int
	// Each, if set, is told of every answer as it comes.
	Each func(Answer)
	// Expected, if set, is told whose answers are waited for, before anybody is
	// asked.
	Expected func(names []string)

	// Enough, if set, is asked before each batch but the first; true leaves the
	// rest alone.
	Enough func() bool

	// settled is waited for before the next batch is asked.
	settled func()
}

// Answer is one runner's.
type Answer struct {
	Runner string
	// Reply is nil for an answer that couldn't be read.
	Reply pb.Message
	// Err is a *RemoteError, or why the reply couldn't be read.
	Err error
	// Skipped: the runner says that the selector leaves it out.
	Skipped bool
	// Asked is when it was asked, Elapsed how long the answer took from then.
	Asked   time.Time
	Elapsed time.Duration
}

// FanResult compares the answers with the cards: every runner that was meant is
// in one of the first four lists, each sorted by name.
type FanResult struct {
	// OK and Failed answered.
	OK, Failed []string
	// Skipped are online and left out by the selector.
	Skipped []string
	// Missing are online by their cards and did not answer.
	Missing []string
	// Unexpected answered, though no online card of theirs matches.
	Unexpected []string
	// Answers of OK, Failed and Unexpected, by runner.
	Answers map[string]Answer
	// Short is how many answers are missing to FanOptions.Expect.
	Short int
}

// Complete says that everybody who was meant has answered.
func (r *FanResult) Complete() bool { return len(r.Missing) == 0 && r.Short == 0 }

// FanOut asks every runner that a target means and returns as soon as all those
// whose cards match have answered, else when the time is over. blank makes an
// empty reply.
func (c *Client) FanOut(ctx context.Context, verb subjects.Verb, t Target, req pb.Request, blank func() pb.Message, opts FanOptions) (*FanResult, error) {
	switch {
	case opts.Batch < 0:
		return nil, fmt.Errorf("cannot use batch %d: it must be 1 or more", opts.Batch)
	case opts.Expect < 0:
		return nil, fmt.Errorf("cannot expect %d answers", opts.Expect)
	}
	body, err := encode(req)
	if err != nil {
		return nil, err
	}
	in, out, err := c.matching(ctx, t)
	if err != nil {
		return nil, err
	}
	f := &fan{c: c, verb: verb, target: t, body: body, blank: blank, opts: opts, waiting: map[string]bool{}}
	f.result.Answers = map[string]Answer{}
	if verb == subjects.Task {
		f.group = req.GetMetadata().GetId()
	}
	var names []string
	for _, r := range in {
		names = append(names, r.Card.GetName())
	}
	for _, r := range out {
		f.result.Skipped = append(f.result.Skipped, r.Card.GetName())
	}
	if opts.Limit != "" {
		limit, err := parseLimit(opts.Limit, len(names))
		if err != nil {
			return nil, err
		}
		names = names[:min(limit, len(names))]
		f.oneByOne = true
	}
	if opts.Batch > 0 {
		f.oneByOne = true
	}
	if opts.Expected != nil {
		opts.Expected(names)
	}
	if err := f.run(ctx, names); err != nil {
		return nil, err
	}
	return f.finish(), nil
}

// fan is one fan-out while it goes on; one goroutine has it.
type fan struct {
	c        *Client
	verb     subjects.Verb
	target   Target
	body     []byte
	blank    func() pb.Message
	opts     FanOptions
	oneByOne bool
	group    string // of a fan-out of runs

	inbox   string
	answers chan *nats.Msg
	asked   time.Time
	waiting map[string]bool // expected, not answered
	result  FanResult
}

func (f *fan) run(ctx context.Context, names []string) error {
	if len(names) == 0 && f.opts.Expect == 0 {
		return nil
	}
	f.inbox = f.c.nc.NewInbox()
	// Room for everybody and then some: a thousand large replies at once are
	// what was asked for, not a slow consumer.
	f.answers = make(chan *nats.Msg, 2*len(names)+spareAnswers)
	sub, err := f.c.nc.ChanSubscribe(f.inbox+".*", f.answers)
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
	asked := 0
	for batch := range slices.Chunk(names, size) {
		if asked > 0 && f.opts.Enough != nil && f.opts.Enough() {
			return nil
		}
		asked += len(batch)
		err := f.round(ctx, batch, func() error {
			for _, name := range batch {
				if err := f.publish(f.c.space.Request(f.verb, subjects.At(name)), name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if f.opts.settled != nil {
			f.opts.settled()
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

// publish asks. The end of the reply subject tells whom: "nobody is there" says
// it no other way.
func (f *fan) publish(subject, whom string) error {
	msg := &nats.Msg{Subject: subject, Reply: f.inbox + "." + whom, Data: f.body, Header: asProtobuf()}
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
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, name := range names {
		f.waiting[name] = true
	}
	f.asked = time.Now()
	if err := ask(); err != nil {
		return err
	}
	for len(f.waiting) > 0 || f.short() > 0 {
		select {
		case msg := <-f.answers:
			if isNobody(msg) {
				f.absent(strings.TrimPrefix(msg.Subject, f.inbox+"."))
				continue
			}
			f.take(msg)
		case <-timer.C:
			f.giveUp()
			return nil
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for answers: %w", context.Cause(ctx))
		}
	}
	return nil
}

// isNobody recognises the server's word that nobody listens.
func isNobody(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}

// absent makes missing whom the server knows to be away.
func (f *fan) absent(whom string) {
	if !f.oneByOne {
		f.giveUp()
		return
	}
	if f.waiting[whom] {
		delete(f.waiting, whom)
		f.result.Missing = append(f.result.Missing, whom)
	}
}

func (f *fan) short() int {
	return max(0, f.opts.Expect-len(f.result.OK)-len(f.result.Failed)-len(f.result.Unexpected))
}

// giveUp makes those that have not answered missing.
func (f *fan) giveUp() {
	for name := range f.waiting {
		f.result.Missing = append(f.result.Missing, name)
	}
	clear(f.waiting)
}

// take files an answer. A runner's second one, from a duplicated request, is
// not counted.
func (f *fan) take(msg *nats.Msg) {
	a := f.read(msg)
	if _, again := f.result.Answers[a.Runner]; again || a.Runner == "" {
		return
	}
	expected := f.waiting[a.Runner]
	delete(f.waiting, a.Runner)
	if a.Skipped {
		if expected {
			f.result.Skipped = append(f.result.Skipped, a.Runner)
		}
		return
	}
	f.result.Answers[a.Runner] = a
	switch {
	case !expected:
		f.result.Unexpected = append(f.result.Unexpected, a.Runner)
	case a.Err != nil:
		f.result.Failed = append(f.result.Failed, a.Runner)
	default:
		f.result.OK = append(f.result.OK, a.Runner)
	}
	if f.opts.Each != nil {
		f.opts.Each(a)
	}
}

func (f *fan) read(msg *nats.Msg) Answer {
	a := Answer{Runner: msg.Header.Get(headerRunner), Asked: f.asked, Elapsed: time.Since(f.asked)}
	if f.target.Where != "" {
		var skip struct {
			Runner  string `json:"runner"`
			Skipped bool   `json:"skipped"`
		}
		if len(msg.Data) < 256 && json.Unmarshal(msg.Data, &skip) == nil && skip.Skipped {
			a.Skipped = true
			return a
		}
	}
	a.Reply = f.blank()
	a.Err = decode(msg, a.Reply)
	return a
}

func (f *fan) finish() *FanResult {
	r := &f.result
	r.Short = f.short()
	for _, list := range [][]string{r.OK, r.Failed, r.Skipped, r.Missing, r.Unexpected} {
		slices.Sort(list)
	}
	r.Skipped = slices.Compact(r.Skipped)
	return r
}

// parseLimit reads "N" or "N%" of a number of runners; any share of some is at
// least one.
func parseLimit(s string, of int) (int, error) {
	number, isShare := s, false
	if len(s) > 0 && s[len(s)-1] == '%' {
		number, isShare = s[:len(s)-1], true
	}
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n <= 0 || isShare && n > 100:
		return 0, fmt.Errorf("cannot use limit %q: it must be a number such as 10 or a share such as 25%%", s)
	case isShare:
		return max(1, of*n/100), nil
	}
	return n, nil
}
