package serve

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/subjects"
)

// startGate bounds how many simulated runners start at once.
const startGate = 16

// giveUpAfter is how long NATS may refuse a runner that has nothing to run before
// the process ends, for its service manager.
const giveUpAfter = 10 * time.Minute

// startRunners starts the runner, or those that are simulated.
func (s *command) startRunners(ctx context.Context) error {
	if err := app.CanSimulate(s.simulate, s.server != nil); err != nil {
		return err
	}
	s.cfg.Secrets, s.cfg.GiveUpAfter = s.secrets(), giveUpAfter
	s.cfg.JetStreamDomain, s.cfg.JetStreamPrefix = s.target.JSDomain, s.target.JSAPIPrefix
	if err := s.boundLogs(ctx); err != nil {
		return err
	}
	if s.simulate == 0 {
		r, err := s.startRunner(ctx, s.cfg)
		if err != nil {
			return err
		}
		s.runners = []*app.Runner{r}
		return nil
	}
	var (
		wg     sync.WaitGroup
		gate   = make(chan struct{}, startGate)
		found  = make([]*app.Runner, s.simulate)
		failed = make([]error, s.simulate)
	)
	for i := range s.simulate {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			cfg := s.cfg
			cfg.Name = fmt.Sprintf("%s-%d", s.cfg.Name, i+1)
			cfg.DataDir = filepath.Join(s.cfg.DataDir, "simulated", cfg.Name)
			cfg.OnDemand = true // one host need not be looked over N times
			found[i], failed[i] = s.startRunner(ctx, cfg)
		})
	}
	wg.Wait()
	for _, r := range found {
		if r != nil {
			s.runners = append(s.runners, r)
		}
	}
	for _, err := range failed {
		if err != nil {
			return err // what stops one stops most: one line is enough
		}
	}
	return nil
}

func (s *command) startRunner(ctx context.Context, cfg service.Config) (*app.Runner, error) {
	nc, err := s.awaitServer(ctx, cfg.Name)
	if err != nil {
		return nil, err
	}
	if err := s.target.Suits(ctx, nc); err != nil {
		nc.Close()
		return nil, err
	}
	svc, err := service.Start(ctx, nc, cfg)
	if err != nil {
		nc.Close()
		return nil, withHint(s.target.Explain(err))
	}
	return &app.Runner{Name: cfg.Name, Nc: nc, Service: svc}, nil
}

// withHint adds what to do about a start that was refused.
func withHint(err error) error {
	switch {
	case errors.Is(err, service.ErrNameTaken):
		return fmt.Errorf("%w; give this one another name (--name)", err)
	case errors.Is(err, service.ErrCopied):
		return fmt.Errorf("%w; for a runner of its own give this one a data directory and a name of its own (--data, --name); to move that runner here for good, stop it there and use --adopt here", err)
	}
	return err
}

const (
	// connectPause is between two tries to reach the server at the start.
	connectPause = time.Second
	// connectSaid is how often the log says so.
	connectSaid = 5 * time.Second
)

// awaitServer connects, and tries again for a while where nobody is there: after
// a power cut all hosts start at once. Refused credentials end it at once.
func (s *command) awaitServer(ctx context.Context, name string) (*nats.Conn, error) {
	began, said := time.Now(), time.Time{}
	for {
		nc, err := s.connectRunner(name)
		if err == nil || !connect.Unreachable(err) || time.Since(began)+connectPause > s.connectWait {
			return nc, err
		}
		s.waiting(err)
		if time.Since(said) >= connectSaid {
			said = time.Now()
			s.Log.Warn("the NATS server is not there yet; trying again", "error", err, "for", (s.connectWait - time.Since(began)).Round(time.Second))
		}
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connectRunner opens the connection of one runner.
func (s *command) connectRunner(name string) (*nats.Conn, error) {
	log := s.Log.With("runner", name)
	return s.target.Connect(
		nats.Name("runnel serve "+name),
		nats.ReconnectWait(500*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), // a refusal may pass; the service says it
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", "server", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
			if !nc.IsConnected() {
				return // the service says why, not at each try
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", "error", err, "subject", subject)
		}),
	)
}

// secrets are the files that this process gets its credentials from, which
// glance never shows; the data directory is the service's own to add.
func (s *command) secrets() []string {
	var paths []string
	for _, path := range []string{s.Conn.Creds, s.Conn.Nkey, s.Conn.Key, s.config} {
		if abs, err := filepath.Abs(path); path != "" && err == nil {
			paths = append(paths, abs)
		}
	}
	if dir, err := connect.UserDataDir(); err == nil {
		paths = append(paths, dir)
	}
	return append(paths, s.target.Secrets...)
}

// boundLogs gives a new log stream a tenth of the store of the server built in.
// A server elsewhere says by its account what there is, ours has no account to
// say it. What is there already has been bounded, perhaps by hand.
func (s *command) boundLogs(ctx context.Context) error {
	if s.server == nil || s.cfg.LogMaxBytes > 0 {
		return nil
	}
	nc, err := s.target.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	space, err := subjects.New(s.Prefix)
	if err != nil {
		return err
	}
	_, err = js.Stream(ctx, space.LogStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s.cfg.LogMaxBytes = s.server.MaxStoreBytes() / 10
		return nil
	}
	return err
}
