package main

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
)

// session is a command's way to the fleet: the server that was found, a
// connection to it and the client on that. A private server has a runner of
// its own.
type session struct {
	*client.Client
	target *target
	nc     *nats.Conn
	runner *runner // inside this command, or else nil
}

// open finds the server and connects to it. With private, a command that finds
// none gets a fleet of its own: a server and a runner that live as long as it
// does.
func (a *app) open(ctx context.Context, private bool) (_ *session, err error) {
	found, err := a.conn.find(finding{log: a.log, private: private})
	if err != nil {
		return nil, err
	}
	s := &session{target: found}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if found.private() {
		a.say("no NATS server configured, using one inside this command (its logs end with it)")
		if err := s.startRunner(ctx, a); err != nil {
			return nil, err
		}
	}
	if s.nc, err = found.connect(a.sayConnection()...); err != nil {
		return nil, err
	}
	js, err := found.jetStream(s.nc)
	if err != nil {
		return nil, err
	}
	space, err := a.space(found)
	if err != nil {
		return nil, err
	}
	s.Client, err = client.New(s.nc, client.Options{Prefix: space.Prefix(), Timeout: found.timeout, JetStream: js})
	return s, err
}

// sayConnection tells who waits why nothing comes.
func (a *app) sayConnection() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err != nil && !nc.IsClosed() {
				a.say("the connection to NATS was lost; trying again")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { a.say("connected to NATS again") }),
	}
}

// startRunner starts the runner of a private server. Its data goes with it.
func (s *session) startRunner(ctx context.Context, a *app) error {
	nc, err := s.target.connect()
	if err != nil {
		return err
	}
	svc, err := service.Start(ctx, nc, service.Config{Prefix: a.prefix, Logger: a.log, OnDemand: true})
	if err != nil {
		nc.Close()
		return err
	}
	s.runner = &runner{svc.Name(), nc, svc}
	return nil
}

// Close closes what is open, in reverse.
func (s *session) Close() error {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.runner != nil {
		s.runner.Close()
	}
	return s.target.Close()
}
