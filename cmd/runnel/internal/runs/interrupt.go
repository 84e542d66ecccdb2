package runs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/client"
)

// Reasons to leave a run before its end.
var (
	// errLeft: the user has asked twice, or by LeaveSignal.
	errLeft = errors.New("left")
	// errNoEnd: the run was aborted, and nothing says that it has ended.
	errNoEnd = errors.New("no end in sight")
)

const (
	// abortPause is between two tries to abort while nobody can be asked.
	abortPause = 250 * time.Millisecond
	// secondSignalAfter makes a second signal count even if the abort could not be
	// sent. Two at once are one: GNU timeout signals the command and its group.
	secondSignalAfter = time.Second
	// defaultGrace is a run's when none is asked for.
	defaultGrace = 10 * time.Second
	// endPatience is how long, beyond the grace, an aborted run may take to be
	// seen to end.
	endPatience = 10 * time.Second
)

// heedSignals makes the first signal abort what runs, and a second one leave;
// cli.LeaveSignal leaves without an abort. A run that does not end in its grace and endPatience is left, too: its server or
// its runner may be away. SIGPIPE becomes an error of the write that caused it.
// The function that it returns ends all that and waits for it.
func (r *runCommand) heedSignals(leave context.CancelCauseFunc, abort func()) (stop func()) {
	signals, stopSignals := cli.UserSignals()
	noPipeSignal := cli.IgnorePipeSignal()
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-over:
			return
		case sig := <-signals:
			if sig == cli.LeaveSignal {
				leave(errLeft)
				return
			}
		}
		if r.ErrLook.Terminal {
			r.Say("aborting; once more to leave at once")
		} else {
			r.Say("aborting")
		}
		sent := make(chan struct{})
		wg.Go(func() {
			defer close(sent)
			abort()
		})
		late := time.NewTimer(r.endTime())
		defer late.Stop()
		for began := time.Now(); ; {
			select {
			case <-over:
				return
			case <-late.C:
				leave(errNoEnd)
				return
			case sig := <-signals:
				select {
				case <-sent:
				default:
					if sig != cli.LeaveSignal && time.Since(began) < secondSignalAfter {
						continue
					}
				}
				leave(errLeft)
				return
			}
		}
	})
	return func() {
		stopSignals()
		noPipeSignal()
		close(over)
		leave(nil)
		wg.Wait()
	}
}

// endTime is how long an aborted run may take to be seen to end.
func (r *runCommand) endTime() time.Duration {
	grace := defaultGrace
	if r.grace > 0 {
		grace = r.grace
	}
	return grace + endPatience
}

// end aborts runs of this command. While nobody can be asked it tries again.
func (r *runCommand) end(ctx context.Context, s *app.Session, ids ...string) {
	for said := false; ; said = true {
		var err error
		if len(ids) == 1 {
			_, err = s.Abort(ctx, ids[0], 0) // the end is seen in the output
		} else {
			err = s.AbortAll(ctx, ids)
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case !nobodyThere(err):
			r.Say("cannot abort: %v", err)
			return
		case !said:
			r.Say("cannot abort: %v; trying again", err)
		}
		select {
		case <-time.After(abortPause):
		case <-ctx.Done():
			return
		}
	}
}

// nobodyThere: the server or the runner is away, which may pass.
func nobodyThere(err error) bool {
	for _, passing := range []error{client.ErrNoAnswer, client.ErrNoRunners, client.ErrOffline, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return isAway(err)
}
