// Package web is `runnel gateway`, and what it shares with `runnel serve --http`:
// flags, the secret, listeners and a graceful end.
package web

import (
	"github.com/runnel-io/runnel/service/gateway/auth"

	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway"
)

// DefaultAddress is where a gateway listens unless told otherwise.
const DefaultAddress = "127.0.0.1:9009"

// Flags of a gateway.
type Flags struct {
	secret         string
	secretFile     string
	defaultScope   []string
	trustedOrigins []string
	corsOrigins    []string
	anonymous      []string
}

// Add defines them.
func (f *Flags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.secret, "jwt-secret", "", "`SECRET` that tokens are signed with, 16 bytes at least; better by\n$RUNNEL_JWT_SECRET or the file")
	flags.StringVar(&f.secretFile, "jwt-secret-file", "", "`FILE` with the secret, made if it is missing (default jwt-secret\nin the data directory)")
	flags.StringSliceVar(&f.defaultScope, "default-scope", nil, "what a token without scopes allows: `SCOPES` (default read,jobs,code)")
	flags.StringArrayVar(&f.trustedOrigins, "trusted-origin", nil, "a page at `ORIGIN` may use the cookie; may be repeated")
	flags.StringArrayVar(&f.corsOrigins, "cors-origin", nil, "a page at `ORIGIN` may call with a token; may be repeated")
	flags.StringSliceVar(&f.anonymous, "anonymous", nil, "what needs no token: `code` or nothing")
	cli.Group(flags, cli.FlagsHTTP, "jwt-secret", "jwt-secret-file", "default-scope", "trusted-origin", "cors-origin", "anonymous")
	cli.CompleteValues(cmd, "anonymous", "code")
}

// Config completes a gateway's configuration; dir is where the secret's file is
// unless a flag says otherwise.
func (f *Flags) Config(dir string) (cfg gateway.Config, err error) {
	if cfg.Secret, err = f.Secret(dir); err != nil {
		return cfg, err
	}
	if cfg.DefaultScope, err = scopesOf("default-scope", f.defaultScope); err != nil {
		return cfg, err
	}
	for _, what := range f.anonymous {
		if what != "code" {
			return cfg, fmt.Errorf("cannot use --anonymous %s: only code can do without a token", what)
		}
		cfg.AnonymousCode = true
	}
	cfg.TrustedOrigins, cfg.CORSOrigins, cfg.Version = f.trustedOrigins, f.corsOrigins, service.Version
	return cfg, nil
}

// scopesOf reads the values of a flag; nil for none.
func scopesOf(flag string, words []string) (list []auth.Scope, err error) {
	for _, s := range words {
		if !auth.KnownScope(auth.Scope(s)) {
			return nil, fmt.Errorf("cannot use --%s %s: it is read, jobs, code, run or admin", flag, s)
		}
		list = append(list, auth.Scope(s))
	}
	return list, nil
}

// Secret is the shared one: of the flag, its variable or the file, which is made
// if nothing else says it.
func (f *Flags) Secret(dir string) (string, error) {
	if f.secret != "" {
		if len(f.secret) < auth.MinSecret {
			return "", fmt.Errorf("cannot use --jwt-secret: it has %d bytes and must have at least %d", len(f.secret), auth.MinSecret)
		}
		return f.secret, nil
	}
	file := f.secretFile
	if file == "" {
		file = filepath.Join(dir, "jwt-secret")
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newSecret(file)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the secret of tokens: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < auth.MinSecret {
		return "", fmt.Errorf("cannot use the secret in %s: it has %d bytes and must have at least %d", file, len(secret), auth.MinSecret)
	}
	return secret, nil
}

// newSecret makes the file, whole or not at all: another program may read it at
// once. Of several that make it at once, the first one wins.
func newSecret(file string) (string, error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	secret := base64.RawURLEncoding.EncodeToString(random)
	err := linkFile(file, []byte(secret+"\n"))
	if errors.Is(err, fs.ErrExist) {
		text, err := os.ReadFile(file)
		return strings.TrimSpace(string(text)), err
	}
	if err != nil {
		return "", fmt.Errorf("cannot keep the secret of tokens: %w", err)
	}
	return secret, nil
}

// linkFile writes a file of mode 0600 that is not there yet.
func linkFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Link(temp.Name(), path)
}

// Server listens on addresses and answers by a handler.
type Server struct {
	servers   []*http.Server
	listeners []net.Listener
	wg        sync.WaitGroup
}

// The times that a client gets. Answers that stream have deadlines of their own.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	stopTime   = 5 * time.Second
)

// Listen opens the addresses, and closes all again if one can't be opened.
func Listen(addresses []string, handler http.Handler, log *slog.Logger) (*Server, error) {
	s := &Server{}
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("cannot listen on %s: %w", address, cause(err))
		}
		s.listeners = append(s.listeners, listener)
	}
	for _, listener := range s.listeners {
		server := &http.Server{
			Handler: handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		}
		s.servers = append(s.servers, server)
		s.wg.Go(func() {
			if err := server.Serve(listener); err != http.ErrServerClosed {
				log.Error("cannot go on serving HTTP", "error", err)
			}
		})
	}
	return s, nil
}

func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// URLs are the addresses that are listened on.
func (s *Server) URLs() (urls []string) {
	for _, l := range s.listeners {
		urls = append(urls, "http://"+l.Addr().String())
	}
	return urls
}

// Close lets requests end for a moment, and then ends them.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var err error
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			err = errors.Join(err, server.Close())
		}
	}
	if len(s.servers) == 0 {
		for _, l := range s.listeners {
			_ = l.Close()
		}
	}
	s.wg.Wait()
	return err
}
