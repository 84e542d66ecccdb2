// Package fan asks many runners at once, or some at a time, and tells of each of them
// once: that it answered, or that it is missing.
package fan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/subjects"
)

// Fan is one fan-out. One goroutine runs it.
type Fan struct {
	Link  *link.Link
	Verb  subjects.Verb
	Scope subjects.Scope // of a request to all at once
	Where string         // the selector, if there is one
	Body  []byte
	// OneByOne asks each by its name, with Group in the header if it is set.
	OneByOne bool
	Group    string
	// Starting are those that may not hear requests yet.
	Starting []string
	// Timeout is how long each has to answer, Batch how many are asked at a time
	// one by one (0: all), Expect how many answers are waited for at least.
	Timeout       time.Duration
	Batch, Expect int
	// Each is given every runner's part; false ends the fan-out.
	Each func(Part) bool
	// Settled, if set, is waited for before the next batch is asked; Enough, if
	// set, is asked then whether the rest is left alone.
	Settled func()
	Enough  func() bool

	inbox    string
	headers  nats.Header // of the requests of a round
	messages chan *nats.Msg
	asked    time.Time
	waiting  map[string]bool // expected, not answered
	starting map[string]bool // of Starting; true: to be asked again
	seen     map[string]bool // has answered
	answers  int
}

// Part is one runner's in a fan-out.
type Part struct {
	Runner string
	// Reply is what it answered; nil if it is missing.
	Reply *nats.Msg
	// Missing says why there is no answer.
	Missing error
	// Skipped: it answered that the selector leaves it out.
	Skipped bool
	// Expected: it is one of those that were to answer.
	Expected bool
	// Asked is when it was asked, Elapsed how long the answer took.
	Asked   time.Time
	Elapsed time.Duration
}

// ErrLeft: Each wants no more.
var ErrLeft = errors.New("left")

// Run asks these, and returns when each of them has been given to Each. Of others
// that answer it tells as well. Error: ErrLeft.
func (f *Fan) Run(ctx context.Context, names []string) error {
	f.waiting, f.seen = map[string]bool{}, map[string]bool{}
	f.noteStarting()
	if len(names) == 0 && f.Expect == 0 {
		return nil
	}
	f.inbox = f.Link.NC.NewInbox()
	// Room for everybody and then some: a thousand large replies at once are
	// what was asked for, not a slow consumer.
	f.messages = make(chan *nats.Msg, 2*len(names)+spareAnswers)
	sub, err := f.Link.NC.ChanSubscribe(f.inbox+".*", f.messages)
	if err != nil {
		return fmt.Errorf("cannot wait for answers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil && !errors.Is(err, nats.ErrTypeSubscription) {
		return fmt.Errorf("cannot wait for answers: %w", err)
	}
	if !f.OneByOne {
		return f.round(ctx, names, func() error {
			return f.publish(f.Link.Space.Request(f.Verb, f.Scope), everybody)
		})
	}
	size := f.Batch
	if size <= 0 {
		size = max(1, len(names))
	}
	for begin := 0; begin < len(names); begin += size {
		if begin > 0 && f.Enough != nil && f.Enough() {
			return nil
		}
		batch := names[begin:min(begin+size, len(names))]
		if err := f.round(ctx, batch, func() error { return f.publishEach(batch) }); err != nil {
			return err
		}
		if f.Settled != nil {
			f.Settled()
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

func (f *Fan) publishEach(names []string) error {
	for _, name := range names {
		if err := f.publish(f.Link.Space.Request(f.Verb, subjects.At(name)), name); err != nil {
			return err
		}
	}
	return nil
}

// publish asks. The end of the reply subject tells whom: "nobody is there" says
// it no other way.
func (f *Fan) publish(subject, whom string) error {
	msg := &nats.Msg{Subject: subject, Reply: f.inbox + "." + whom, Data: f.Body, Header: maps.Clone(f.headers)}
	if whom != everybody && f.Group != "" {
		msg.Header.Set(subjects.HeaderGroup, f.Group)
	}
	if f.Where != "" && whom == everybody {
		msg.Header.Set(subjects.HeaderWhere, f.Where)
		msg.Header.Set(subjects.HeaderAnswer, subjects.AnswerAlways)
	}
	if err := f.Link.NC.PublishMsg(msg); err != nil {
		return fmt.Errorf("cannot ask %s: %w", subject, err)
	}
	return nil
}

// round asks and then waits for these, or until the time is over.
func (f *Fan) round(ctx context.Context, names []string, ask func() error) error {
	patience := f.Timeout
	if patience <= 0 {
		patience = f.Link.Timeout
	}
	f.headers = f.Link.Headers(ctx, patience)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	again := time.NewTicker(startingPause)
	defer again.Stop()
	for _, name := range names {
		f.waiting[name] = true
	}
	ctx, done := f.Link.Deniable(ctx, f.isMine)
	defer done()
	f.asked = time.Now()
	if err := ask(); err != nil {
		return err
	}
	for len(f.waiting) > 0 || f.Short() > 0 {
		var err error
		select {
		case msg := <-f.messages:
			if isNobody(msg) {
				err = f.absent(strings.TrimPrefix(msg.Subject, f.inbox+"."))
			} else {
				err = f.take(msg)
			}
		case <-again.C:
			err = f.askStarting()
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

// isMine knows what the fan-out needs: any of its requests, and its inbox. Who may
// ask all need not be one who may ask each.
func (f *Fan) isMine(denied string) bool {
	requests := f.Link.Space.Prefix() + "." + string(f.Verb) + "."
	if !f.OneByOne && strings.HasPrefix(denied, requests+"at.") {
		return false
	}
	return strings.HasPrefix(denied, requests) || strings.HasPrefix(denied, f.inbox)
}

// isNobody recognises the server's word that nobody listens.
func isNobody(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}

// absent makes missing whom the server knows to be away.
func (f *Fan) absent(whom string) error {
	if f.askLater(whom) {
		return nil
	}
	if !f.OneByOne {
		return f.giveUp(0)
	}
	if !f.waiting[whom] {
		return nil
	}
	delete(f.waiting, whom)
	return f.missing(whom, fmt.Errorf("runner %s is %w", whom, link.ErrOffline))
}

// Short is how many answers are missing of those that Expect wants.
func (f *Fan) Short() int { return max(0, f.Expect-f.answers) }

// giveUp makes those that have not answered missing.
func (f *Fan) giveUp(patience time.Duration) error {
	for _, name := range slices.Sorted(maps.Keys(f.waiting)) {
		if patience == 0 && f.askLater(name) {
			continue
		}
		delete(f.waiting, name)
		err := fmt.Errorf("%w from runner %s in %s%s", link.ErrNoAnswer, name, patience, f.startingWords(name))
		if patience == 0 {
			err = fmt.Errorf("runner %s is %w", name, link.ErrOffline)
		}
		if err := f.missing(name, err); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fan) missing(name string, why error) error {
	if !f.Each(Part{Runner: name, Missing: why, Asked: f.asked}) {
		return ErrLeft
	}
	return nil
}

// Seen says whether a runner has answered.
func (f *Fan) Seen(name string) bool { return f.seen[name] }

// take files an answer. A runner's second one, from a duplicated request, is
// not counted.
func (f *Fan) take(msg *nats.Msg) error {
	p := Part{Runner: msg.Header.Get(subjects.HeaderRunner), Reply: msg, Asked: f.asked, Elapsed: time.Since(f.asked)}
	if p.Runner == "" || f.seen[p.Runner] {
		return nil
	}
	p.Expected, p.Skipped = f.waiting[p.Runner], f.isSkipped(msg)
	if p.Skipped && !p.Expected {
		return nil // its card says so too
	}
	f.seen[p.Runner] = true
	delete(f.waiting, p.Runner)
	if !p.Skipped {
		f.answers++
	}
	if !f.Each(p) {
		return ErrLeft
	}
	return nil
}

// isSkipped reads the answer of a runner that the selector leaves out.
func (f *Fan) isSkipped(msg *nats.Msg) bool {
	var skip struct {
		Skipped bool `json:"skipped"`
	}
	return f.Where != "" && len(msg.Data) < 256 && json.Unmarshal(msg.Data, &skip) == nil && skip.Skipped
}
