package fires

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/runnel-io/runnel/service/stream"
)

// handleTimeout bounds the handling of one fire for any runner: less than the
// time after which the server gives it to another.
const handleTimeout = 8 * time.Second

// offset is how long a run is put off: fixed for a text.
func offset(text string, jitter time.Duration) time.Duration {
	if jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return time.Duration(h.Sum64() % uint64(jitter))
}

// retry has f tried until it works or ctx ends: a fire that is read once is not
// delivered again.
func retry(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || ctx.Err() != nil || !stream.IsTransient(err) {
			return err
		}
		if !stream.Pause(ctx, stream.RetryWait(try)) {
			return err
		}
	}
}
