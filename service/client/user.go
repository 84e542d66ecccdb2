package client

import (
	"context"

	"github.com/runnel-io/runnel/service/client/internal/link"
)

// AsUser says for whom requests with this context are made. Runners show it in
// their audit lines and in the records of runs, as claimed; it gives no right. What
// is no line of text is left out.
func AsUser(ctx context.Context, user string) context.Context {
	return link.WithUser(ctx, user)
}
