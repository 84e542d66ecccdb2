package client

import (
	"context"
	"sync"
)

// abortsAtOnce is how many runs AbortAll ends at a time.
const abortsAtOnce = 64

// AbortAll ends many runs at once and returns when each has been asked to end, with
// the first error.
func (c *Client) AbortAll(ctx context.Context, ids []string) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	gate := make(chan struct{}, abortsAtOnce)
	for _, id := range ids {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if _, err := c.Abort(ctx, id, 0); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	return first
}
