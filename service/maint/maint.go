package maint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// The states of a sync. (pipego)
const (
	StatusSynchronised    = 0
	StatusNotSynchronised = 1
	StatusIndeterminate   = 2
	StatusNotChecked      = 3
)

// What Maint's errors wrap. The reply's Error has the whole text.
var (
	// ErrInvalidTime: the base time is absent or not positive. (pipego)
	ErrInvalidTime = errors.New("invalid clock time")
	// ErrRefused: this runner's policy doesn't let the clock be set, or not that far.
	ErrRefused = errors.New("refused by the policy rule")
	// ErrNoPermission: the kernel doesn't let this process set the clock.
	ErrNoPermission = errors.New("this runner has neither root nor CAP_SYS_TIME")
	// ErrUnsupported: Runnel can't set the clock on this system.
	ErrUnsupported = errors.New("not supported by Runnel on this system")
	// ErrBusy: other requests took the whole time to set the clock.
	ErrBusy = errors.New("cannot set the clock: other requests are setting it")
	// ErrNoServer: no NTP server gave an answer that can be trusted.
	ErrNoServer = errors.New("no NTP server gave a usable answer")
	// ErrNoMajority: the NTP servers contradict one another, and none is believed.
	ErrNoMajority = errors.New("no majority of the NTP servers agrees")
)

// wholeTime bounds a request, so that it stays below the 4 s that callers are
// promised even on a busy machine.
const wholeTime = 3500 * time.Millisecond

// Config says whom a Keeper asks and what it may do.
type Config struct {
	// Servers are the NTP servers: host, host:port or [v6]:port. Port 123 if
	// none is named.
	Servers []string
	// Defaults are asked where there are no Servers. Without either, only a
	// caller's base time can be used.
	Defaults []string
	// AllowSet lets requests set the clock.
	AllowSet bool
	// MaxStep is the largest step that is made; 0 means any.
	MaxStep time.Duration
	// Logger is told of each change to the clock. Default: nothing is logged.
	Logger *slog.Logger
}

// Keeper looks after this machine's clock. It is safe for concurrent use;
// requests that set the clock take turns.
type Keeper struct {
	cfg    Config
	kernel kernel
	turn   chan struct{} // holds a value while somebody sets the clock
	// now replaces the wall clock in tests; nil is the real one, and lets NTP
	// answers carry the kernel's time of arrival.
	now func() time.Time

	mu         sync.Mutex
	daemonName string
	daemonAt   time.Time // when it was looked for; zero: never
}

// New returns the keeper of this machine's clock.
func New(cfg Config) *Keeper {
	cfg.Servers = slices.Compact(slices.Sorted(slices.Values(cfg.Servers))) // each has one vote
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{cfg: cfg, kernel: newKernel(), turn: make(chan struct{}, 1)}
}

// Maint compares the clock and, with sync, sets it. It takes at most 4 s, and
// less than ctx has left.
//
// The reply is never nil and says all that is known, also beside an error. The
// error is not nil when the request was wrong (ErrInvalidTime), when what it
// asks is refused (ErrRefused, ErrNoPermission, ErrUnsupported), or when nothing
// of it could be answered (ErrNoServer or ErrNoMajority without a base time of the caller's). The
// reply's Error has words also where a part alone failed, such as a sync whose
// servers were silent.
func (k *Keeper) Maint(ctx context.Context, req *pb.Maint) (*pb.MaintReply, error) {
	local := k.clock() // first of all: the base time is running
	ctx, cancel := context.WithTimeout(ctx, timeFor(ctx))
	defer cancel()

	query := req.GetClock()
	from, err := baseOf(query)
	if err != nil && !query.GetNtp() {
		return &pb.MaintReply{
			Error: err.Error(),
			Clock: &pb.ClockReply{Diff: unknownDiff(), Sync: &pb.ClockSync{Status: StatusIndeterminate}},
		}, err
	}
	clock := &pb.ClockReply{
		Diff: unknownDiff(), Sync: &pb.ClockSync{Status: StatusNotChecked},
		LocalNanos: local.UnixNano(), Daemon: k.daemon(query.GetSync()),
	}
	if !query.GetNtp() {
		difference, exact := from.millisFrom(local)
		clock.Diff, clock.Offset = diffOf(difference), exact
	}

	part, err := k.answer(ctx, query, clock)
	clock.Kernel = k.kernel.view()
	reply := &pb.MaintReply{Clock: clock}
	if err := cmp.Or(err, part); err != nil {
		reply.Error = err.Error()
	}
	return reply, err
}

// answer does what needs the servers. part is what failed; err is set as well
// if that fails the request.
func (k *Keeper) answer(ctx context.Context, query *pb.ClockQuery, clock *pb.ClockReply) (part, err error) {
	if query.GetSync() {
		clock.Sync.Status = StatusIndeterminate
		if !k.cfg.AllowSet {
			err := fmt.Errorf("cannot set the clock: %w clock.forbidSet", ErrRefused)
			return err, err
		}
	}
	if !query.GetNtp() && !query.GetSync() {
		return nil, nil
	}
	set := query.GetSync() && (clock.Daemon == "" || query.GetForce())
	if set {
		select {
		case k.turn <- struct{}{}:
			defer func() { <-k.turn }()
		case <-ctx.Done():
			return ErrBusy, ErrBusy
		}
	}

	found, unasked := k.ask(ctx, retryLost)
	if unasked == nil {
		found.describe(clock)
		if query.GetNtp() {
			clock.Diff = diffOf(inMillis(int64(found.offset)))
			clock.LocalNanos = found.at.UnixNano()
		}
	}
	part = unasked
	switch {
	case set && unasked == nil:
		return k.set(ctx, found, clock)
	case query.GetSync() && !set:
		clock.Sync.Action = "left to " + clock.Daemon
		clock.Sync.Status, part = k.judgeDaemon(found, unasked)
	}
	if query.GetNtp() {
		return part, unasked
	}
	return part, nil // the caller's own base time has been answered
}

// timeFor is what a request may take: what ctx has left, less a tenth for the
// answer's way back, and never more than wholeTime.
func timeFor(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(wholeTime, time.Until(deadline)*9/10)
	}
	return wholeTime
}

// daemonFor is how long it is remembered which daemon keeps the clock. To find
// out, all processes are looked at: a comparison that takes so long is not one
// within milliseconds.
const daemonFor = time.Minute

// daemon that keeps this clock; fresh for who is about to set it.
func (k *Keeper) daemon(fresh bool) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); fresh || k.daemonAt.IsZero() || now.Sub(k.daemonAt) > daemonFor {
		k.daemonName, k.daemonAt = k.kernel.daemon(), now
	}
	return k.daemonName
}

func (k *Keeper) clock() time.Time {
	if k.now != nil {
		return k.now()
	}
	return time.Now()
}
