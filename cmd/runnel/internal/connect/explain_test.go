package connect

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
)

func TestTooOldServers(t *testing.T) {
	for version, want := range map[string]bool{
		"2.10.29": true, "2.9.0": true, "1.4.1": true,
		fmt.Sprintf("%d.%d.0", leastMajor, leastMinor): false, fmt.Sprintf("%d.%d.9-RC.1", leastMajor, leastMinor): false,
		fmt.Sprintf("%d.0.0", leastMajor+1): false,
		"":                                  false, "dev": false, "2": false, // what can't be read is not refused
	} {
		if got := tooOld(version); got != want {
			t.Errorf("%q: got %t, want %t", version, got, want)
		}
	}
}

// An error of JetStream names the server, the setting, and what helps.
func TestErrorsOfJetStreamAreExplained(t *testing.T) {
	plain := errors.New("something else")
	for name, c := range map[string]struct {
		target Target
		err    error
		want   string
	}{
		"none":               {Target{url: "nats://h:4222"}, nil, ""},
		"another error":      {Target{url: "nats://h:4222"}, plain, "something else"},
		"account":            {Target{url: "nats://h:4222"}, jetstream.ErrJetStreamNotEnabledForAccount, "has no JetStream on nats://h:4222: enable it for the account"},
		"replicas":           {Target{url: "nats://h:4222"}, fmt.Errorf("x: %w", &jetstream.APIError{ErrorCode: errReplicas}), "use --replicas 1"},
		"replicas, built in": {Target{Server: &embedded.Server{}}, fmt.Errorf("x: %w", &jetstream.APIError{ErrorCode: errReplicas}), "the NATS server built in is a single one"},
		"domain":             {Target{url: "nats://h:4222", JSDomain: "leaf"}, nats.ErrNoResponders, `no JetStream domain "leaf" is reached by nats://h:4222`},
		"prefix":             {Target{url: "nats://h:4222", JSAPIPrefix: "js.leaf"}, nats.ErrNoResponders, `below "js.leaf"`},
		"silent":             {Target{url: "nats://h:4222"}, nats.ErrNoResponders, "JetStream does not answer at nats://h:4222"},
		"password in a URL":  {Target{url: "nats://me:secret@h:4222"}, nats.ErrNoResponders, "h:4222"},
		"context is named":   {Target{url: "nats://h:4222", Origin: "nats context prod"}, nats.ErrNoResponders, "(nats context prod)"},
		"domain of a prefix": {Target{url: "nats://h:4222", JSDomain: "d", JSAPIPrefix: "p"}, nats.ErrNoResponders, `domain "d"`},
	} {
		err := c.target.Explain(c.err)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v has a password", name, err)
		}
	}
	if err := (&Target{}).noJetStream(); !strings.Contains(err.Error(), "nats-server -js") {
		t.Errorf("got %v", err)
	}
}

// What the server denies is named with its user; what nobody waits for is no reason to give up.
func TestDeniedInWords(t *testing.T) {
	nc := &nats.Conn{Opts: nats.Options{User: "ann"}}
	violation := func(text string) error {
		return fmt.Errorf("%w: Permissions Violation for %s", nats.ErrPermissionViolation, text)
	}
	for _, c := range []struct {
		err     error
		want    string
		awaited bool
	}{
		{violation(`Publish to "runner.task.any"`), `user "ann" may not publish on runner.task.any (docs/subjects.md)`, true},
		{violation(`Subscription to "_INBOX.x.*"`), `user "ann" may not subscribe to _INBOX.x.* (docs/subjects.md)`, true},
		{violation(`Subscription to "runner.log.>" using queue "q"`), `user "ann" may not subscribe to runner.log.> (docs/subjects.md)`, false},
		{violation(`Publish to "$JS.API.STREAM.INFO.RUNNER_LOG"`), `user "ann" may not publish on $JS.API.STREAM.INFO.RUNNER_LOG (docs/subjects.md)`, true},
		{violation(`Publish to "$JS.API.CONSUMER.DELETE.A.b"`), `user "ann" may not publish on $JS.API.CONSUMER.DELETE.A.b (docs/subjects.md)`, false},
		{violation(`Publish to "$JS.ACK.x"`), `user "ann" may not publish on $JS.ACK.x (docs/subjects.md)`, false},
		{violation(`Publish to "$SYS.REQ"`), `user "ann" may not publish on $SYS.REQ (docs/subjects.md)`, false},
	} {
		got := denied(nc, c.err)
		if got == nil || got.Error() != c.want || got.awaited() != c.awaited {
			t.Errorf("%v: got %v, want %s", c.err, got, c.want)
		}
	}
	if got := denied(nc, errors.New("another")); got != nil {
		t.Errorf("got %v of another error", got)
	}
	for want, opts := range map[string]nats.Options{
		"this user":  {},
		"user UABC":  {Nkey: "UABC"},
		`user "bob"`: {User: "bob", Nkey: "UABC"},
	} {
		if got := userOf(&nats.Conn{Opts: opts}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPasswordsOfURLsAreHidden(t *testing.T) {
	for in, secret := range map[string]string{
		"nats://me:hunter2@h:4222":                      "hunter2",
		"nats://a:4222,nats://me:hunter2@b:4222":        "hunter2",
		"nats://tokentokentoken@h:4222":                 "tokentokentoken",
		"tls://me:hunter2@h:4222, nats://me:hunter2@h2": "hunter2",
		"nats://h:4222":                                 "",
	} {
		got := redact(in)
		if secret != "" && strings.Contains(got, secret) || !strings.Contains(got, "://") {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

// Credentials and an address say which server is meant; a timeout does not.
func TestExplicit(t *testing.T) {
	for name, c := range map[string]struct {
		flags Flags
		want  bool
	}{
		"nothing": {Flags{}, false}, "timeout": {Flags{Timeout: 1}, false}, "server": {Flags{server: "nats://h"}, true},
		"context": {Flags{context: "prod"}, true}, "user": {Flags{user: "me"}, true}, "token": {Flags{token: "t"}, true},
		"creds": {Flags{Creds: "f"}, true}, "nkey": {Flags{Nkey: "f"}, true}, "jwt": {Flags{jwt: "j"}, true}, "seed": {Flags{seed: "s"}, true},
		"certificate": {Flags{cert: "f"}, true}, "key": {Flags{Key: "f"}, true}, "authorities": {Flags{ca: "f"}, true},
		"a password alone": {Flags{password: "p"}, false},
	} {
		if got := c.flags.Explicit(); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}
