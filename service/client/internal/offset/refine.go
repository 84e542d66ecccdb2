package offset

import (
	"context"
	"sync"
	"time"
)

const (
	// fineMillis is a comparison that is good enough.
	fineMillis = 2
	// refiners ask at once: more would wait for one another, which is what made the
	// comparison coarse.
	refiners    = 4
	refineTries = 3
	refineTime  = 3 * time.Second
)

// Fine says whether a comparison is good enough.
func Fine(uncertainty float64) bool { return uncertainty <= fineMillis }

// Refine compares again, a few at a time, those of n that are coarse: a thousand that
// come at once wait for one another. again says that one needs no more.
func Refine(ctx context.Context, n int, coarse func(i int) bool, again func(ctx context.Context, i int) bool) {
	ctx, cancel := context.WithTimeout(ctx, refineTime)
	defer cancel()
	var wg sync.WaitGroup
	gate := make(chan struct{}, refiners)
	for i := range n {
		if !coarse(i) {
			continue
		}
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			for range refineTries {
				if again(ctx, i) {
					return
				}
			}
		})
	}
	wg.Wait()
}
