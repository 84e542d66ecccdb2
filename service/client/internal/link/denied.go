package link

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Denial: the NATS server does not let this user do what a request needs.
type Denial struct {
	// User as the connection has it; empty if it is not known here.
	User string
	// Subscribe instead of publish.
	Subscribe bool
	Subject   string
}

// violation is what the server says beside a request that it drops.
var violation = regexp.MustCompile(`Permissions Violation for (Publish|Subscription) to "([^"]+)"`)

// lookForDenial is how often a request that waits looks for the server's word.
const lookForDenial = 10 * time.Millisecond

// Deniable ends the context as soon as the server says that this user may not do
// something that relevant knows: it does so beside the request, which just gets no
// answer. The caller calls done.
func (l *Link) Deniable(ctx context.Context, relevant func(subject string) bool) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := l.denials.add(l, &deniable{before: l.NC.LastError(), relevant: relevant, cancel: cancel})
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

func (d *denials) add(l *Link, w *deniable) (forget func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[*deniable]struct{}{}
	}
	d.waiting[w] = struct{}{}
	if !d.looking {
		d.looking = true
		go d.look(l)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, w)
	}
}

// look goes on until nobody waits.
func (d *denials) look(l *Link) {
	ticker := time.NewTicker(lookForDenial)
	defer ticker.Stop()
	var seen error
	for range ticker.C {
		said := l.NC.LastError()
		isNew := said != seen && errors.Is(said, nats.ErrPermissionViolation) //nolint:errorlint // the same error: nothing was said since
		seen = said
		if !d.tell(said, isNew, l) {
			return
		}
	}
}

// tell ends those whom a denial concerns, and says whether anybody waits.
func (d *denials) tell(said error, isNew bool, l *Link) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		d.looking = false
		return false
	}
	if !isNew {
		return true
	}
	denied, known := l.readDenial(said)
	for w := range d.waiting {
		if known && said != w.before && w.relevant(denied.Subject) { //nolint:errorlint // the same error: it was said before
			w.cancel(l.Denied(denied))
		}
	}
	return true
}

func (l *Link) readDenial(said error) (_ Denial, known bool) {
	found := violation.FindStringSubmatch(said.Error())
	if found == nil {
		return Denial{}, false
	}
	user := cmp.Or(l.NC.Opts.User, l.NC.Opts.Nkey)
	if user != "" {
		user = "user " + user
	}
	return Denial{User: user, Subscribe: found[1] == "Subscription", Subject: found[2]}, true
}

// Asking knows what a request on this subject needs: the subject and an inbox.
func (l *Link) Asking(subject string) func(string) bool {
	inbox := strings.TrimSuffix(cmp.Or(l.NC.Opts.InboxPrefix, nats.InboxPrefix), ".") + "."
	return func(denied string) bool { return denied == subject || strings.HasPrefix(denied, inbox) }
}

// ReadingRecords knows what reading records needs.
func ReadingRecords(denied string) bool {
	return strings.HasPrefix(denied, "$") || strings.Contains(denied, ".API.")
}

// Reading knows what reading a stream needs. That an old consumer may not be
// deleted is not among it.
func (l *Link) Reading(stream string) func(string) bool {
	inbox := l.Asking("")
	return func(denied string) bool {
		return inbox(denied) || strings.Contains(denied, ".API.") && strings.Contains(denied+".", "."+stream+".") && !strings.Contains(denied, ".CONSUMER.DELETE.")
	}
}

// OrDenied is the server's word, if that is why the context has ended.
func OrDenied(ctx context.Context, err error) error {
	if denied := context.Cause(ctx); err != nil && errors.Is(denied, nats.ErrPermissionViolation) {
		return denied
	}
	return err
}
