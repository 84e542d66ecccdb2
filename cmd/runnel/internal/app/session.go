package app

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
)

// Session is a command's way to the fleet: the server that was found, a
// connection to it and the client on that. A private server has a runner of
// its own.
type Session struct {
	*client.Client
	App    *App
	Target *connect.Target
	Nc     *nats.Conn
	runner *Runner // inside this command, or else nil
}

// Open finds the server and connects to it. With private, a command that finds
// none gets a fleet of its own: a server and a runner that live as long as it
// does.
func (a *App) Open(ctx context.Context, private bool) (_ *Session, err error) {
	found, err := a.Conn.Find(connect.Search{Log: a.Log, Private: private})
	if err != nil {
		return nil, err
	}
	s := &Session{App: a, Target: found}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if found.Private() {
		a.Say("no NATS server configured, using one inside this command (its logs end with it)")
		if err := s.startRunner(ctx, a); err != nil {
			return nil, err
		}
	}
	if s.Nc, err = found.Connect(a.sayConnection()...); err != nil {
		return nil, err
	}
	if err := found.Suits(ctx, s.Nc); err != nil {
		return nil, err
	}
	js, err := found.JetStream(s.Nc)
	if err != nil {
		return nil, err
	}
	space, err := a.space(found)
	if err != nil {
		return nil, err
	}
	s.Client, err = client.New(s.Nc, client.Options{Prefix: space.Prefix(), Timeout: found.Timeout, JetStream: js})
	return s, err
}

// WithSession connects, does something and disconnects. What it does ends at once
// when the server does not permit it.
func (a *App) WithSession(ctx context.Context, do func(context.Context, *Session) error) error {
	return a.withSession(ctx, false, do)
}

// WithAnySession is WithSession where a command may have a fleet of its own: see
// Open.
func (a *App) WithAnySession(ctx context.Context, do func(context.Context, *Session) error) error {
	return a.withSession(ctx, true, do)
}

func (a *App) withSession(ctx context.Context, private bool, do func(context.Context, *Session) error) (err error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	a.giveUp.Store(&giveUp)
	defer a.giveUp.Store(nil)
	s, err := a.Open(ctx, private)
	if err != nil {
		return refused(ctx, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err = do(ctx, s); err == nil {
		return nil
	}
	return s.Target.Explain(refused(ctx, err))
}

// refused is what the server did not permit, if that is why ctx has ended.
func refused(ctx context.Context, err error) error {
	var denied *connect.DeniedError
	if !errors.As(err, &denied) && errors.As(context.Cause(ctx), &denied) {
		return denied
	}
	return err
}

// sayConnection tells who waits why nothing comes.
func (a *App) sayConnection() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err != nil && !nc.IsClosed() {
				a.Say("the connection to NATS was lost; trying again")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { a.Say("connected to NATS again") }),
	}
}

// startRunner starts the runner of a private server. Its data goes with it.
func (s *Session) startRunner(ctx context.Context, a *App) error {
	nc, err := s.Target.Connect()
	if err != nil {
		return err
	}
	svc, err := service.Start(ctx, nc, service.Config{Prefix: a.Prefix, Logger: a.Log, OnDemand: true})
	if err != nil {
		nc.Close()
		return err
	}
	s.runner = &Runner{svc.Name(), nc, svc}
	return nil
}

// Close closes what is open, in reverse.
func (s *Session) Close() error {
	if s.Nc != nil {
		s.Nc.Close()
	}
	if s.runner != nil {
		s.runner.Close()
	}
	return s.Target.Close()
}
