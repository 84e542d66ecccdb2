package client

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/subjects"
)

// DefaultTimeout is how long a runner has to answer.
const DefaultTimeout = 5 * time.Second

// Options of a Client. The zero value is the default prefix and timeout.
type Options struct {
	// Prefix of all subjects. Default: "runner".
	Prefix string
	// Timeout is how long a runner has to answer. Default: 5 s.
	Timeout time.Duration
	// JetStream replaces jetstream.New(nc), for an API prefix or a domain.
	JetStream jetstream.JetStream
	// OnlineFor is how young the card of an online runner is. Default: 30 s.
	OnlineFor time.Duration
}

// Client asks one fleet. It is safe for concurrent use.
type Client struct {
	link  *link.Link
	ahead logs.Ahead // of the readers of logs
}

// New makes a client. It sends nothing yet.
func New(nc *nats.Conn, opts Options) (*Client, error) {
	space, err := subjects.New(opts.Prefix)
	if err != nil {
		return nil, err
	}
	js := opts.JetStream
	if js == nil {
		if js, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("cannot use JetStream: %w", err)
		}
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	return &Client{link: link.New(link.Config{
		NC: nc, JS: js, Space: space, Timeout: opts.Timeout, OnlineFor: opts.OnlineFor,
		Denied:  func(d link.Denial) error { return (*PermissionError)(&d) },
		Refused: func(r link.Refusal) error { return &RemoteError{Runner: r.Runner, Code: r.Code, Text: r.Text} },
	})}, nil
}

// Space is where the fleet lives.
func (c *Client) Space() subjects.Space { return c.link.Space }
