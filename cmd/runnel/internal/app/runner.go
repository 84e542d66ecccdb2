package app

import (
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
)

// Runner is one runner of this process, with its own connection: micro takes a
// connection's callbacks.
type Runner struct {
	Name    string
	Nc      *nats.Conn
	Service *service.Service
}

// Close ends the runner; what still runs is killed.
func (r *Runner) Close() {
	r.Service.Close()
	r.Nc.Close()
}
