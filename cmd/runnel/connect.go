package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
)

// target is a NATS server that was found, and how to connect to it. Nothing is
// connected yet, but a private server is running: Close stops it.
type target struct {
	// origin says how it was found, for people: `nats context "prod"`.
	origin string
	// url is where it is; empty for a private server.
	url string
	// prefix is the fleet's, when the local `runnel serve` told it.
	prefix string
	// timeout is how long to wait for answers.
	timeout time.Duration

	options               []nats.Option
	jsDomain, jsAPIPrefix string
	server                *embedded.Server // a private one, or else nil
	local                 *localServer     // the local `runnel serve`, or else nil
}

// finding is what the search for a server depends on beside the flags.
type finding struct {
	log *slog.Logger
	// private lets the command have a server inside itself when there is no other.
	private bool
	// notLocal passes over the local `runnel serve`: it is what is being started.
	notLocal bool
	// notContext is a nats context to pass over if it is selected.
	notContext string
}

// errNoServer means that no server was named and that there is none to be found.
var errNoServer = errors.New("no NATS server: name one with --server or --context, or start one here with `runnel serve`")

// find finds the server: the one that flags or environment name, else that of
// the selected nats context, else the local `runnel serve` of this user, else
// one inside this command, if that is allowed.
func (c *connectFlags) find(f finding) (*target, error) {
	if c.timeout <= 0 {
		return nil, fmt.Errorf("cannot use --timeout %s: it must be more than 0", c.timeout)
	}
	selected := ""
	if !c.noContext {
		selected = natscontext.SelectedContext()
	}
	if selected == f.notContext {
		selected = ""
	}
	switch {
	case c.explicit() || selected != "":
		return c.remote(selected)
	case !f.notLocal:
		local, others, err := findLocal()
		if err != nil {
			return nil, err
		}
		if local != nil {
			if others > 0 && c.say != nil {
				c.say("%d servers run here; this is about %s, the latest: --context %s or the like picks another", others+1, local.Name, natsContextName("NAME"))
			}
			return c.reachLocal(local), nil
		}
	}
	if !f.private {
		return nil, errNoServer
	}
	return c.startPrivate(f.log)
}

// remote is the server of the flags and of a context.
func (c *connectFlags) remote(selected string) (*target, error) {
	name, origin := c.context, "--server"
	if name == "" {
		name = selected
	}
	if c.server == "" && name != "" {
		origin = fmt.Sprintf("nats context %q", name)
	}
	settings, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	options, err := settings.NATSOptions()
	if err != nil {
		return nil, fmt.Errorf("cannot use the credentials for %s: %w", redact(settings.ServerURL()), err)
	}
	return &target{
		origin:      origin,
		url:         settings.ServerURL(),
		timeout:     c.timeout,
		options:     c.withCommon(options),
		jsDomain:    settings.JSDomain(),
		jsAPIPrefix: settings.JSAPIPrefix(),
	}, nil
}

// reachLocal is the local server. Whether it answers is found out by connect.
func (c *connectFlags) reachLocal(local *localServer) *target {
	return &target{
		origin:  "the local runnel serve " + local.Name,
		url:     local.URL,
		prefix:  local.Prefix,
		timeout: c.timeout,
		options: c.withCommon(nil),
		local:   local,
	}
}

// startPrivate starts a server for this command alone.
func (c *connectFlags) startPrivate(log *slog.Logger) (*target, error) {
	server, err := embedded.Start(embedded.Config{Name: "runnel-private", InProcessOnly: true, Memory: true, Logger: log})
	if err != nil {
		return nil, err
	}
	return &target{origin: "this command", timeout: c.timeout, options: c.withCommon(nil), server: server}, nil
}

// pingInterval finds out within half a minute, and not six, that a server is gone
// whose link was cut: nothing says so, and runners count as offline after that time.
const pingInterval = 10 * time.Second

func (c *connectFlags) withCommon(options []nats.Option) []nats.Option {
	name := c.connectionName
	if name == "" {
		name = "runnel"
	}
	return append(options, nats.Name(name), nats.Timeout(c.timeout), nats.MaxReconnects(-1), nats.PingInterval(pingInterval),
		// Else nats.go prints them. What comes of others is said where it is noticed.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) && c.denied != nil {
				c.denied(err)
			}
		}))
}

// connect opens a connection; the options given prevail. The caller closes it.
func (t *target) connect(options ...nats.Option) (*nats.Conn, error) {
	all := append(append([]nats.Option(nil), t.options...), options...)
	if t.server != nil {
		return t.server.Connect(all...)
	}
	if t.local != nil {
		return t.connectLocal(all)
	}
	nc, err := nats.Connect(t.url, all...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", redact(t.url), connectCause(err))
	}
	return nc, nil
}

// connectLocal connects to the local server. It holds its lock, so it is alive:
// one that is just starting gets a moment, in which what it has left from its
// last life may change, and one that does not answer is an error, for a private
// server in its place would only hide that.
func (t *target) connectLocal(options []nats.Option) (*nats.Conn, error) {
	const patience, pause = 2 * time.Second, 50 * time.Millisecond
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		key, err := nats.NkeyOptionFromSeed(t.local.SeedFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use the credentials of %s: %w", t.origin, err)
		}
		nc, err := nats.Connect(t.local.URL, append(options, key)...)
		if err == nil {
			return nc, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s (pid %d) does not answer on %s: %w", t.origin, t.local.PID, t.local.URL, connectCause(err))
		}
		switch found, _, err := findLocal(); {
		case err != nil:
			return nil, err
		case found == nil:
			return nil, fmt.Errorf("%s has just ended", t.origin)
		default:
			t.local, t.url = found, found.URL
		}
	}
}

// jetStream is JetStream as the flags or the context say how to reach it.
func (t *target) jetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	switch {
	case t.jsAPIPrefix != "":
		return jetstream.NewWithAPIPrefix(nc, t.jsAPIPrefix)
	case t.jsDomain != "":
		return jetstream.NewWithDomain(nc, t.jsDomain)
	}
	return jetstream.New(nc)
}

// private says whether the server is inside this command.
func (t *target) private() bool { return t.server != nil }

// Close stops a private server; all connections to it are to be closed before.
func (t *target) Close() error {
	if t.server == nil {
		return nil
	}
	return t.server.Close()
}

// connectCause says in plain words why a connection failed.
func connectCause(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused") // nats.go keeps the cause to itself
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("not let in: %w; credentials are given with --creds, --nkey, --user or --context", err)
	case errors.As(err, &op) && op.Op == "dial":
		return op.Err
	}
	return err
}

// redact takes the passwords out of a list of URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, raw := range list {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || u.User == nil {
			continue
		}
		if _, ok := u.User.Password(); ok {
			list[i] = u.Redacted()
			continue
		}
		u.User = url.User("xxxxx") // a token
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}
