package connect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// leastMajor and leastMinor are the oldest server that has what records need: a
// time to live of a single message.
const leastMajor, leastMinor = 2, 11

// jetStreamPatience is how long a server may take to say whether it has JetStream.
const jetStreamPatience = 2 * time.Second

// errReplicas is what a server answers that is not in a cluster.
const errReplicas jetstream.ErrorCode = 10074

// Suits says whether the server can be used at all: it may be too old, or have no
// JetStream and nobody who has it for it.
func (t *Target) Suits(ctx context.Context, nc *nats.Conn) error {
	if version := nc.ConnectedServerVersion(); tooOld(version) {
		return fmt.Errorf("cannot use the NATS server at %s: it is nats-server %s, and %d.%d or later is needed", t.where(), version, leastMajor, leastMinor)
	}
	if has, _ := nc.ConnectedServerJetStream(); has || t.Private() || nc.ConnectedClusterName() != "" || t.JSDomain != "" || t.JSAPIPrefix != "" {
		return nil // what others have is seen when it is asked for
	}
	ctx, cancel := context.WithTimeout(ctx, jetStreamPatience)
	defer cancel()
	js, err := t.JetStream(nc)
	if err != nil {
		return err
	}
	if _, err := js.AccountInfo(ctx); isNoJetStream(err) {
		return t.noJetStream()
	}
	return nil // it may be slow, or not allowed to say
}

// tooOld says whether a version is one that can be read and is below the least.
func tooOld(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	n, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil {
		return false
	}
	return m < leastMajor || m == leastMajor && n < leastMinor
}

func isNoJetStream(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

func (t *Target) noJetStream() error {
	return fmt.Errorf(`the NATS server at %s has no JetStream, where runs and their output are kept: start it with "nats-server -js", or "jetstream {}" in its configuration`, t.where())
}

// where is the server's address, and the context that it is from.
func (t *Target) where() string {
	where := redact(t.url)
	if t.local == nil && strings.HasPrefix(t.Origin, "nats context") {
		where += " (" + t.Origin + ")"
	}
	return where
}

// Explain says in place of an error of the JetStream API which server is meant,
// which setting, and what helps. Other errors are returned as they are.
func (t *Target) Explain(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == errReplicas && t.Private():
		return errors.New("cannot have more than one replica: the NATS server built in is a single one; use --replicas 1, or --server with a cluster of three")
	case err == nil || t.Private():
		return err
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the account of this user has no JetStream on %s: enable it for the account, or give another user's credentials", t.where())
	case errors.As(err, &api) && api.ErrorCode == errReplicas:
		return fmt.Errorf("cannot have more than one replica: %s is a single server; use --replicas 1, or a cluster of three for --replicas 3", t.where())
	case !isNoJetStream(err):
		return err
	case t.JSDomain != "":
		return fmt.Errorf("no JetStream domain %q is reached by %s: see --js-domain, or the context's", t.JSDomain, t.where())
	case t.JSAPIPrefix != "":
		return fmt.Errorf("no JetStream API is reached below %q by %s: see --js-api-prefix, or the context's", t.JSAPIPrefix, t.where())
	}
	return fmt.Errorf("JetStream does not answer at %s: %w", t.where(), err)
}

// DeniedError is what the server does not permit the user of a connection.
type DeniedError struct{ User, Action, Subject string }

func (e *DeniedError) Error() string {
	return fmt.Sprintf("%s may not %s %s (docs/subjects.md)", e.User, e.Action, e.Subject)
}

// denied reads a permissions violation as nats.go reports it; nil if it is none.
func denied(nc *nats.Conn, err error) *DeniedError {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	_, what, _ := strings.Cut(err.Error(), "Permissions Violation for ")
	action := "publish on"
	if strings.HasPrefix(what, "Subscription") {
		action = "subscribe to"
	}
	_, subject, _ := strings.Cut(what, `"`)
	subject, _, _ = strings.Cut(subject, `"`)
	return &DeniedError{User: userOf(nc), Action: action, Subject: subject}
}

// userOf names the user of a connection, for people.
func userOf(nc *nats.Conn) string {
	switch opts := nc.Opts; {
	case opts.User != "":
		return fmt.Sprintf("user %q", opts.User)
	case opts.UserJWT != nil:
		token, err := opts.UserJWT()
		if err != nil {
			break
		}
		if claims, err := jwt.DecodeUserClaims(token); err == nil {
			return fmt.Sprintf("user %q", claims.Name)
		}
	case opts.Nkey != "":
		return "user " + opts.Nkey
	}
	return "this user"
}

// awaited says whether somebody waits for what was denied: the answer to a
// request, or all answers. The rest (a consumer that can't be deleted early) is
// done without.
func (e *DeniedError) awaited() bool {
	if e.Action == "subscribe to" {
		return strings.HasPrefix(e.Subject, "_INBOX")
	}
	api, isAPI := strings.CutPrefix(e.Subject, "$JS.")
	if !isAPI {
		return !strings.HasPrefix(e.Subject, "$")
	}
	return !strings.Contains(api, "CONSUMER.DELETE") && !strings.HasPrefix(api, "ACK.") && !strings.HasPrefix(api, "FC.")
}
