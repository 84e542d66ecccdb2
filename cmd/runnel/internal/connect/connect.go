// Package connect finds the NATS server of a command and connects to it: by flag,
// by environment, by the selected `nats` context, by what a local `runnel serve`
// has left for this user, or with a server inside the command.
package connect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service/files"
)

// Target is a NATS server that was found, and how to connect to it. Nothing is
// connected yet, but a private server is running: Close stops it.
type Target struct {
	// Origin says how it was found, for people: `nats context "prod"`.
	Origin string
	// url is where it is; empty for a private server.
	url string
	// Prefix is the fleet's, when the local `runnel serve` told it.
	Prefix string
	// Timeout is how long to wait for answers.
	Timeout time.Duration

	Options               []nats.Option
	JSDomain, JSAPIPrefix string
	Server                *embedded.Server // a private one, or else nil
	// Secrets are the files that the credentials come from, absolute.
	Secrets []string
	local   *Local // the local `runnel serve`, or else nil
}

// Search is what the search for a server depends on beside the flags.
type Search struct {
	Log *slog.Logger
	// Private lets the command have a server inside itself when there is no other.
	Private bool
	// NotLocal passes over the local `runnel serve`: it is what is being started.
	NotLocal bool
	// NotContext is a nats context to pass over if it is selected.
	NotContext string
}

// ErrNoServer means that no server was named and that there is none to be found.
var ErrNoServer = errors.New("no NATS server: name one with --server or --context, or start one here with `runnel serve`")

// Find finds the server: the one that flags or environment name, else that of
// the selected nats context, else the local `runnel serve` of this user, else
// one inside this command, if that is allowed.
func (c *Flags) Find(f Search) (*Target, error) {
	if c.Timeout <= 0 {
		return nil, fmt.Errorf("cannot use --timeout %s: it must be more than 0", c.Timeout)
	}
	selected := ""
	if !c.noContext {
		selected = natscontext.SelectedContext()
	}
	if selected == f.NotContext {
		selected = ""
	}
	switch {
	case c.Explicit() || selected != "":
		return c.remote(selected)
	case !f.NotLocal:
		local, others, err := FindLocal()
		if err != nil {
			return nil, err
		}
		if local != nil {
			if err := c.refuseRemote("the local runnel serve " + local.Name); err != nil {
				return nil, err
			}
			if others > 0 && c.Say != nil {
				c.Say("%d servers run here; this is about %s, the latest: --context %s or the like picks another", others+1, local.Name, ContextName("NAME"))
			}
			return c.reachLocal(local), nil
		}
	}
	if !f.Private {
		return nil, ErrNoServer
	}
	if err := c.refuseRemote("a server inside this command"); err != nil {
		return nil, err
	}
	return c.startPrivate(f.Log)
}

// refuseRemote refuses what only a server that was named can heed.
func (c *Flags) refuseRemote(found string) error {
	for _, f := range []struct {
		name  string
		given bool
	}{{"js-domain", c.jsDomain != ""}, {"js-api-prefix", c.jsAPIPrefix != ""}, {"inbox-prefix", c.inboxPrefix != ""}, {"tlsfirst", c.tlsFirst}} {
		if f.given {
			return fmt.Errorf("cannot use --%s with %s: it goes with --server or --context", f.name, found)
		}
	}
	return nil
}

// remote is the server of the flags and of a context.
func (c *Flags) remote(selected string) (*Target, error) {
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
	secrets := secretsOf(settings, name)
	if err := areOwn(append(secrets, absolute(settings.Certificate(), settings.CA())...)); err != nil {
		return nil, fmt.Errorf("cannot trust what %s names: %w", origin, err)
	}
	options, err := settings.NATSOptions()
	if err != nil {
		return nil, fmt.Errorf("cannot use the credentials for %s: %w", redact(settings.ServerURL()), err)
	}
	return &Target{
		Origin:      origin,
		url:         settings.ServerURL(),
		Timeout:     c.Timeout,
		Options:     c.WithCommon(options),
		JSDomain:    settings.JSDomain(),
		JSAPIPrefix: settings.JSAPIPrefix(),
		Secrets:     secrets,
	}, nil
}

// secretsOf are the files that a connection's settings were read from: the
// contexts, because each may have credentials, and what the settings name.
func secretsOf(settings *natscontext.Context, name string) []string {
	paths := []string{settings.Creds(), settings.NKey(), settings.Key(), settings.Path()}
	if path, err := natscontext.ContextPath(name); name != "" && err == nil {
		paths = append(paths, filepath.Dir(path))
	}
	return absolute(paths...)
}

// absolute are those of the paths that are given, without a tilde.
func absolute(paths ...string) []string {
	var all []string
	for _, path := range paths {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			if home, err := HomeDir(); err == nil {
				path = filepath.Join(home, rest)
			}
		}
		if abs, err := filepath.Abs(path); path != "" && err == nil {
			all = append(all, abs)
		}
	}
	return all
}

// areOwn refuses files that somebody else may change: they say who this is, and
// which server is the right one.
func areOwn(paths []string) error {
	for _, path := range paths {
		if err := files.CheckOwn(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // whoever opens it says that
			return err
		}
	}
	return nil
}

// reachLocal is the local server. Whether it answers is found out by connect.
func (c *Flags) reachLocal(local *Local) *Target {
	return &Target{
		Origin:  "the local runnel serve " + local.Name,
		url:     local.URL,
		Prefix:  local.Prefix,
		Timeout: c.Timeout,
		Options: c.WithCommon(nil),
		local:   local,
	}
}

// startPrivate starts a server for this command alone.
func (c *Flags) startPrivate(log *slog.Logger) (*Target, error) {
	server, err := embedded.Start(embedded.Config{Name: "runnel-private", InProcessOnly: true, Memory: true, Logger: log})
	if err != nil {
		return nil, err
	}
	return &Target{Origin: "this command", Timeout: c.Timeout, Options: c.WithCommon(nil), Server: server}, nil
}

// pingInterval finds out within half a minute, and not six, that a server is gone
// whose link was cut: nothing says so, and runners count as offline after that time.
const pingInterval = 10 * time.Second

func (c *Flags) WithCommon(options []nats.Option) []nats.Option {
	name := c.connectionName
	if name == "" {
		name = "runnel"
	}
	return append(options, nats.Name(name), nats.Timeout(c.Timeout), nats.MaxReconnects(-1), nats.PingInterval(pingInterval),
		// Else nats.go prints them. What comes of others is said where it is noticed.
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) {
			if e := denied(nc, err); e != nil && c.Denied != nil {
				c.Denied(e, e.awaited())
			}
		}))
}

// Connect opens a connection; the options given prevail. The caller closes it.
func (t *Target) Connect(options ...nats.Option) (*nats.Conn, error) {
	all := append(append([]nats.Option(nil), t.Options...), options...)
	if t.Server != nil {
		return t.Server.Connect(all...)
	}
	if t.local != nil {
		return t.connectLocal(all)
	}
	nc, err := nats.Connect(t.url, all...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", t.where(), Cause(err))
	}
	return nc, nil
}

// connectLocal connects to the local server. It holds its lock, so it is alive:
// one that is just starting gets a moment, in which what it has left from its
// last life may change, and one that does not answer is an error, for a private
// server in its place would only hide that.
func (t *Target) connectLocal(options []nats.Option) (*nats.Conn, error) {
	const patience, pause = 2 * time.Second, 50 * time.Millisecond
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		if err := areOwn([]string{t.local.SeedFile}); err != nil {
			return nil, fmt.Errorf("cannot trust the credentials of %s: %w", t.Origin, err)
		}
		key, err := nats.NkeyOptionFromSeed(t.local.SeedFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use the credentials of %s: %w", t.Origin, err)
		}
		nc, err := nats.Connect(t.local.URL, append(options, key)...)
		if err == nil {
			return nc, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s (pid %d) does not answer on %s: %w", t.Origin, t.local.PID, t.local.URL, Cause(err))
		}
		switch found, _, err := FindLocal(); {
		case err != nil:
			return nil, err
		case found == nil:
			return nil, fmt.Errorf("%s has just ended", t.Origin)
		default:
			t.local, t.url = found, found.URL
		}
	}
}

// JetStream is JetStream as the flags or the context say how to reach it.
func (t *Target) JetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	switch {
	case t.JSAPIPrefix != "":
		return jetstream.NewWithAPIPrefix(nc, t.JSAPIPrefix)
	case t.JSDomain != "":
		return jetstream.NewWithDomain(nc, t.JSDomain)
	}
	return jetstream.New(nc)
}

// Private says whether the server is inside this command.
func (t *Target) Private() bool { return t.Server != nil }

// Close stops a private server; all connections to it are to be closed before.
func (t *Target) Close() error {
	if t.Server == nil {
		return nil
	}
	return t.Server.Close()
}

// Cause says in plain words why a connection failed.
func Cause(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, syscall.ECONNREFUSED):
		return errRefused // nats.go keeps the cause to itself
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("not let in: %w; credentials are given with --creds, --nkey, --user or --context", err)
	case errors.As(err, &op) && op.Op == "dial":
		return op.Err
	}
	return err
}

var errRefused = errors.New("connection refused")

// Unreachable says whether nobody was there to connect to, which may pass. Whoever
// refuses credentials or has another certificate was there.
func Unreachable(err error) bool {
	var network net.Error
	return errors.Is(err, errRefused) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF) || errors.As(err, &network)
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
