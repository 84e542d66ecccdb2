package mcp

import (
	"context"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

type lifeKey struct{}

// living keeps a context where withLife finds it.
func living(ctx context.Context) context.Context { return context.WithValue(ctx, lifeKey{}, ctx) }

// withLife ends a call with what it came by: an HTTP request whose client has
// gone away, or a server that stops. The library keeps the values of that context
// and hides its end.
func withLife(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	life, ok := ctx.Value(lifeKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(life, cancel)
	return ctx, func() { stop(); cancel() }
}

// progress tells a client that asked for it how a call goes, in the stream of its
// answer.
type progress struct {
	req   *sdk.CallToolRequest
	token any
	count float64
}

func newProgress(req *sdk.CallToolRequest) *progress {
	return &progress{req: req, token: req.Params.GetProgressToken()}
}

// say sends a line. The number that goes with it means nothing but that it rises.
func (p *progress) say(ctx context.Context, text string) {
	if p.token == nil {
		return
	}
	p.count++
	_ = p.req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: p.token, Progress: p.count, Message: text})
}
