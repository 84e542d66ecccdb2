package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
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
	before := c.nc.LastError()
	go func() {
		ticker := time.NewTicker(lookForDenial)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			said := c.nc.LastError()
			if said == before || !errors.Is(said, nats.ErrPermissionViolation) { //nolint:errorlint // the same error: nothing was said since
				continue
			}
			if denied := c.readDenial(said); denied != nil && relevant(denied.Subject) {
				cancel(denied)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
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

// orDenied is the server's word, if that is why the context has ended.
func orDenied(ctx context.Context, err error) error {
	var denied *PermissionError
	if err != nil && errors.As(context.Cause(ctx), &denied) {
		return denied
	}
	return err
}
