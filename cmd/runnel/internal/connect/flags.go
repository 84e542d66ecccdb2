package connect

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
)

// Flags are the connection flags of the `nats` command: same names, same
// environment, same meaning.
type Flags struct {
	server, user, password, token string
	Creds, Nkey, jwt, seed        string
	cert, Key, ca                 string
	tlsFirst                      bool
	Timeout                       time.Duration
	context                       string
	noContext                     bool
	jsAPIPrefix, jsDomain         string
	inboxPrefix, connectionName   string
	socksProxy                    string
	certStore                     certStoreFlags

	// Denied is told of what the server does not permit, and whether somebody waits
	// for it: a request that it drops looks like one that nobody answers.
	Denied func(err *DeniedError, awaited bool)
	// Say tells the user what they may want to know.
	Say func(format string, args ...any)
}

// certStoreFlags are the flags for the certificate store of Windows.
type certStoreFlags struct {
	kind, match, matchBy string
	caMatch              []string
}

// defaultTimeout is how long the `nats` command waits for an answer, too.
const defaultTimeout = 5 * time.Second

// Add gives the flags to the root command and so to all.
func (c *Flags) Add(root *cobra.Command) {
	flags := root.PersistentFlags()
	str := func(p *string, name, env, usage string) {
		flags.StringVar(p, name, "", usage)
		cli.Group(flags, cli.FlagsConnect, name)
		if env != "" {
			cli.BindEnv(flags, name, env)
		}
	}
	flags.StringVarP(&c.server, "server", "s", "", "NATS server `URL`s, separated by commas")
	cli.BindEnv(flags, "server", "NATS_URL")
	str(&c.context, "context", "NATS_CONTEXT", "`NAME` of the nats context to use")
	flags.BoolVar(&c.noContext, "no-context", false, "leave the selected nats context alone")
	str(&c.user, "user", "NATS_USER", "user `NAME`; without a password, a token")
	str(&c.password, "password", "NATS_PASSWORD", "`PASSWORD` of the user")
	str(&c.token, "token", "NATS_TOKEN", "`TOKEN` instead of a user")
	str(&c.Creds, "creds", "NATS_CREDS", "credentials `FILE`")
	str(&c.Nkey, "nkey", "NATS_NKEY", "nkey seed `FILE`")
	str(&c.jwt, "jwt", "NATS_JWT", "user `JWT`")
	str(&c.seed, "seed", "NATS_SEED", "user `SEED`")
	str(&c.cert, "tlscert", "NATS_CERT", "certificate `FILE`")
	str(&c.Key, "tlskey", "NATS_KEY", "private key `FILE`")
	str(&c.ca, "tlsca", "NATS_CA", "certificate authorities `FILE`")
	flags.BoolVar(&c.tlsFirst, "tlsfirst", false, "do the TLS handshake before the server's greeting")
	if runtime.GOOS == "windows" {
		str(&c.certStore.kind, "certstore", "", "use the Windows certificate store of `WHOM`: user or machine")
		str(&c.certStore.match, "certstore-match", "", "the certificate to use: a `QUERY`")
		flags.StringVar(&c.certStore.matchBy, "certstore-match-by", "subject", "what `FIELD` the query is about: subject or issuer")
		flags.StringArrayVar(&c.certStore.caMatch, "certstore-ca-match", nil, "the authority to use from the store: a `QUERY`")
		cli.Group(flags, cli.FlagsConnect, "certstore-match-by", "certstore-ca-match")
	}
	flags.DurationVar(&c.Timeout, "timeout", defaultTimeout, "how long to wait for answers")
	cli.BindEnv(flags, "timeout", "NATS_TIMEOUT")
	str(&c.socksProxy, "socks-proxy", "NATS_SOCKS_PROXY", "SOCKS5 proxy `URL`")
	str(&c.jsAPIPrefix, "js-api-prefix", "", "subject `PREFIX` of the JetStream API")
	str(&c.jsDomain, "js-domain", "", "JetStream `DOMAIN`")
	str(&c.inboxPrefix, "inbox-prefix", "", "subject `PREFIX` of inboxes")
	str(&c.connectionName, "connection-name", "", "`NAME` of the connection")
	cli.Group(flags, cli.FlagsConnect, "server", "no-context", "tlsfirst", "timeout")
	completeContexts(root)
}

// completeContexts makes shells complete the names of contexts.
func completeContexts(root *cobra.Command) {
	names := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return natscontext.KnownContexts(), cobra.ShellCompDirectiveNoFileComp
	}
	if err := root.RegisterFlagCompletionFunc("context", names); err != nil {
		panic(err) // a slip of ours, seen by any test
	}
}

// Explicit says whether the flags or the environment name a server: by its
// address, by a context, or by saying how to get into one at the usual address.
func (c *Flags) Explicit() bool {
	return c.server != "" || c.context != "" || c.credentials() || c.cert != "" || c.Key != "" || c.ca != ""
}

func (c *Flags) credentials() bool {
	for _, s := range []string{c.user, c.token, c.Creds, c.Nkey, c.jwt, c.seed} {
		if s != "" {
			return true
		}
	}
	return false
}

// resolve makes one context of the named one and the flags, which prevail.
// With an empty name there are only the flags.
func (c *Flags) resolve(name string) (*natscontext.Context, error) {
	settings, err := c.settings(name)
	if err != nil {
		return nil, err
	}
	// One half alone would be left out without a word.
	switch cert, key := settings.Certificate(), settings.Key(); {
	case cert != "" && key == "":
		return nil, errors.New("cannot use --tlscert without --tlskey, the private key of that certificate")
	case cert == "" && key != "":
		return nil, errors.New("cannot use --tlskey without --tlscert, the certificate of that key")
	}
	return settings, nil
}

func (c *Flags) settings(name string) (*natscontext.Context, error) {
	opts := c.options()
	if name == "" {
		return c.alone(opts)
	}
	base, err := natscontext.New(name, true)
	if err != nil {
		return nil, fmt.Errorf("cannot use nats context %q: %w", name, err)
	}
	if c.credentials() {
		// Credentials come from one place. Mixed, one kind would quietly win.
		return c.alone(append(withoutCredentials(base), opts...))
	}
	merged, err := natscontext.New(name, true, opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot use nats context %q: %w", name, err)
	}
	if err := merged.Validate(); err != nil {
		return nil, fmt.Errorf("cannot use nats context %q: %w", name, err)
	}
	return merged, nil
}

// alone makes a context of options and of nothing that was saved.
func (c *Flags) alone(opts []natscontext.Option) (*natscontext.Context, error) {
	const name = "command-line" // a context has to have one
	made, err := natscontext.New(name, false, opts...)
	if err == nil {
		err = made.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the connection flags: %w", err)
	}
	return made, nil
}

func (c *Flags) options() []natscontext.Option {
	user, token := c.user, c.token
	if user != "" && c.password == "" && token == "" {
		user, token = "", user // as the nats command has it
	}
	opts := []natscontext.Option{
		natscontext.WithServerURL(c.server),
		natscontext.WithUser(user),
		natscontext.WithPassword(c.password),
		natscontext.WithToken(token),
		natscontext.WithCreds(c.Creds),
		natscontext.WithNKey(c.Nkey),
		natscontext.WithUserJWT(c.jwt),
		natscontext.WithUserSeed(c.seed),
		natscontext.WithCertificate(c.cert),
		natscontext.WithKey(c.Key),
		natscontext.WithCA(c.ca),
		natscontext.WithSocksProxy(c.socksProxy),
		natscontext.WithJSAPIPrefix(c.jsAPIPrefix),
		natscontext.WithJSDomain(c.jsDomain),
		natscontext.WithInboxPrefix(c.inboxPrefix),
		natscontext.WithWindowsCertStore(c.certStore.kind),
		natscontext.WithWindowsCertStoreMatch(c.certStore.match),
		natscontext.WithWindowsCertStoreMatchBy(c.certStore.matchBy),
		natscontext.WithWindowsCaCertsMatch(c.certStore.caMatch...),
	}
	if c.tlsFirst {
		opts = append(opts, natscontext.WithTLSHandshakeFirst())
	}
	return opts
}

// withoutCredentials is a context's settings except who it lets in as.
func withoutCredentials(base *natscontext.Context) []natscontext.Option {
	opts := []natscontext.Option{
		natscontext.WithServerURL(base.ServerURL()),
		natscontext.WithCertificate(base.Certificate()),
		natscontext.WithKey(base.Key()),
		natscontext.WithCA(base.CA()),
		natscontext.WithSocksProxy(base.SocksProxy()),
		natscontext.WithJSAPIPrefix(base.JSAPIPrefix()),
		natscontext.WithJSDomain(base.JSDomain()),
		natscontext.WithInboxPrefix(base.InboxPrefix()),
		natscontext.WithWindowsCertStore(base.WindowsCertStore()),
		natscontext.WithWindowsCertStoreMatch(base.WindowsCertStoreMatch()),
		natscontext.WithWindowsCertStoreMatchBy(base.WindowsCertStoreMatchBy()),
		natscontext.WithWindowsCaCertsMatch(base.WindowsCaCertsMatch()...),
	}
	if base.TLSHandshakeFirst() {
		opts = append(opts, natscontext.WithTLSHandshakeFirst())
	}
	return opts
}
