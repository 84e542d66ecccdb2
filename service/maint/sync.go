package maint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// stepAbove is the offset from which the clock is stepped: slewing more than
// this takes the kernel, at 500 ppm, over three minutes. It is also how close a
// clock that counts as synchronised has to be when the servers know better.
const stepAbove = 100 * time.Millisecond

// set brings the clock to where found says it should be, and verifies that. The
// caller has the turn. Results as of answer.
func (k *Keeper) set(ctx context.Context, found reading, clock *pb.ClockReply) (part, err error) {
	clock.Sync.Status = StatusNotSynchronised
	action, change := "slew", k.kernel.slew
	if found.offset.Abs() > stepAbove {
		action, change = "step", k.kernel.step
		if limit := k.cfg.MaxStep; limit > 0 && found.offset.Abs() > limit {
			err := fmt.Errorf("cannot set the clock by %v: %w clock.maxStep: steps are limited to %v", rounded(found.offset), ErrRefused, limit)
			return err, err
		}
	}
	if err := change(found.offset); err != nil {
		err = fmt.Errorf("cannot set the clock: %w", err)
		return err, err
	}
	clock.Sync.Action = action
	done := fmt.Sprintf("the clock was set (%s of %v)", action, rounded(found.offset))
	k.cfg.Logger.Info("clock set", "action", action, "offset", found.offset, "server", found.server)

	seen, err := k.ask(ctx, retryPolite)
	if remaining := k.kernel.remaining(); remaining != 0 {
		clock.Sync.Slewing, clock.Sync.Remaining = true, millis(remaining)
	}
	if err != nil {
		clock.Sync.Status = StatusIndeterminate
		return fmt.Errorf("%s, but that can't be verified: %w", done, err), nil
	}
	seen.describe(clock)
	if clock.Sync.Status = judge(seen); clock.Sync.Status != StatusSynchronised {
		return fmt.Errorf("%s, but %s still sees it off by %v", done, seen.server, rounded(seen.offset)), nil
	}
	if err := k.kernel.vouch(seen.offset.Abs() + seen.uncertainty); err != nil {
		k.cfg.Logger.Warn("cannot tell the kernel that its clock is right", "error", err)
	}
	return nil, nil
}

// judge is the status that a reading bears out.
func judge(r reading) int64 {
	if r.offset.Abs() <= max(r.uncertainty, stepAbove) {
		return StatusSynchronised
	}
	return StatusNotSynchronised
}

// judgeDaemon is the status of a clock that a daemon keeps: what the servers
// say or, where there is nobody to ask, what the daemon has told the kernel.
func (k *Keeper) judgeDaemon(found reading, err error) (int64, error) {
	switch {
	case err == nil:
		return judge(found), nil
	case len(k.cfg.Servers) > 0, errors.Is(err, ErrNoMajority):
		return StatusIndeterminate, err
	case k.kernel.synchronised():
		return StatusSynchronised, nil
	}
	return StatusNotSynchronised, nil
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
