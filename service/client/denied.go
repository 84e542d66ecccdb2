package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// PermissionError: the NATS server does not let this user do what a request
// needs. errors.Is finds nats.ErrPermissionViolation in it.
type PermissionError struct {
	// User as the connection has it; empty if it is not known here.
	User string
	// Subscribe instead of publish.
	Subscribe bool
	Subject   string
}

func (e *PermissionError) Error() string {
	what := "publish on"
	if e.Subscribe {
		what = "subscribe to"
	}
	return fmt.Sprintf("%s may not %s %s (docs/subjects.md)", cmp.Or(e.User, "this user"), what, e.Subject)
}

// Is finds the error that nats.go has for it.
func (e *PermissionError) Is(target error) bool { return target == nats.ErrPermissionViolation }

// violation is what the server says beside a request that it drops.
var violation = regexp.MustCompile(`Permissions Violation for (Publish|Subscription) to "([^"]+)"`)

// lookForDenial is how often a request that waits looks for the server's word.
const lookForDenial = 10 * time.Millisecond

// deniable ends the context as soon as the server says that this user may not do
// something that relevant knows: it does so beside the request, which just gets no
// answer. The caller calls done.
func (c *Client) deniable(ctx context.Context, relevant func(subject string) bool) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := c.denials.add(c, &deniable{before: c.nc.LastError(), relevant: relevant, cancel: cancel})
	return ctx, func() { forget(); cancel(nil) }
}

// deniable is one that waits.
type deniable struct {
	before   error
	relevant func(string) bool
	cancel   context.CancelCauseFunc
}

// denials has all that wait looked after by one goroutine, while there are any: a
// thousand logs may be followed at once.
type denials struct {
	mu      sync.Mutex
	waiting map[*deniable]struct{}
	looking bool
}

func (d *denials) add(c *Client, w *deniable) (forget func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[*deniable]struct{}{}
	}
	d.waiting[w] = struct{}{}
	if !d.looking {
		d.looking = true
		go d.look(c)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, w)
	}
}

// look goes on until nobody waits.
func (d *denials) look(c *Client) {
	ticker := time.NewTicker(lookForDenial)
	defer ticker.Stop()
	var seen error
	for range ticker.C {
		said := c.nc.LastError()
		isNew := said != seen && errors.Is(said, nats.ErrPermissionViolation) //nolint:errorlint // the same error: nothing was said since
		seen = said
		if !d.tell(said, isNew, c) {
			return
		}
	}
}

// tell ends those whom a denial concerns, and says whether anybody waits.
func (d *denials) tell(said error, isNew bool, c *Client) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		d.looking = false
		return false
	}
	if !isNew {
		return true
	}
	denied := c.readDenial(said)
	for w := range d.waiting {
		if denied != nil && said != w.before && w.relevant(denied.Subject) { //nolint:errorlint // the same error: it was said before
			w.cancel(denied)
		}
	}
	return true
}

func (c *Client) readDenial(said error) *PermissionError {
	found := violation.FindStringSubmatch(said.Error())
	if found == nil {
		return nil
	}
	user := cmp.Or(c.nc.Opts.User, c.nc.Opts.Nkey)
	if user != "" {
		user = "user " + user
	}
	return &PermissionError{User: user, Subscribe: found[1] == "Subscription", Subject: found[2]}
}

// isMine knows what a request on this subject needs: the subject and an inbox.
func (c *Client) isMine(subject string) func(string) bool {
	inbox := strings.TrimSuffix(cmp.Or(c.nc.Opts.InboxPrefix, nats.InboxPrefix), ".") + "."
	return func(denied string) bool { return denied == subject || strings.HasPrefix(denied, inbox) }
}

// isJetStream knows what reading records needs.
func isJetStream(denied string) bool {
	return strings.HasPrefix(denied, "$") || strings.Contains(denied, ".API.")
}

// isReadingOf knows what reading a stream needs. That an old consumer may not be
// deleted is not among it.
func (c *Client) isReadingOf(stream string) func(string) bool {
	inbox := c.isMine("")
	return func(denied string) bool {
		return inbox(denied) || strings.Contains(denied, ".API.") && strings.Contains(denied+".", "."+stream+".") && !strings.Contains(denied, ".CONSUMER.DELETE.")
	}
}

// orDenied is the server's word, if that is why the context has ended.
func orDenied(ctx context.Context, err error) error {
	var denied *PermissionError
	if err != nil && errors.As(context.Cause(ctx), &denied) {
		return denied
	}
	return err
}
