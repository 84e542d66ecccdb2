package maint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/beevik/ntp"

	"github.com/runnel-io/runnel/pb"
)

const (
	// answerTime is how long one question waits; later answers find the socket
	// closed.
	answerTime = 700 * time.Millisecond
	// latecomers is how long the rest may take once half of the servers have
	// given an answer that counts.
	latecomers = 300 * time.Millisecond
	// retryLost asks again at once when an answer is missing; retryPolite keeps
	// the two seconds that ntpd's default limit wants between questions.
	retryLost   = answerTime
	retryPolite = 2 * time.Second
	// maxDistance is the root distance above which a server is no source of time
	// (MAXDIST of RFC 5905).
	maxDistance = time.Second
	// minDispersion is what two right clocks may differ by, and how far the clock
	// may move by itself during a question (MINDISP of RFC 5905, rounded up).
	minDispersion = 5 * time.Millisecond
)

// reading is one trusted look at a server's clock.
type reading struct {
	server      string
	address     string        // of the machine that answered, however it was named
	offset      time.Duration // positive: this host is behind
	uncertainty time.Duration // root distance: offset is wrong by this at most
	stratum     uint8
	at          time.Time // local time of the answer's arrival
	// falsetickers are the servers that the majority contradicts.
	falsetickers []string
}

// describe puts the reading into a reply.
func (r reading) describe(clock *pb.ClockReply) {
	clock.Offset, clock.Uncertainty = millis(r.offset), millis(r.uncertainty)
	clock.Server, clock.Stratum = r.server, int32(r.stratum)
	clock.Falsetickers = r.falsetickers
}

// DefaultServers are for hosts that have been told of none. Four can outvote one.
func DefaultServers() []string {
	return []string{"0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"}
}

// ask asks all servers at once and believes the best of the majority. A server
// from which nothing is heard is asked once more, again after the question.
func (k *Keeper) ask(ctx context.Context, again time.Duration) (reading, error) {
	servers, origin := k.cfg.Servers, ""
	if len(servers) == 0 {
		servers, origin = k.cfg.Defaults, " (none is configured)"
	}
	if len(servers) == 0 {
		return reading{}, fmt.Errorf("%w: none is configured", ErrNoServer)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		reading
		err error
	}
	answers := make(chan answer, len(servers))
	for _, server := range servers {
		go func() {
			r, err := k.askServer(ctx, server, again)
			answers <- answer{r, err}
		}()
	}
	var trusted []reading
	failed := map[string]error{}
	for range servers {
		a := <-answers
		if a.err != nil {
			failed[a.server] = a.err
			continue
		}
		before := len(trusted)
		trusted = oneVoteEach(append(trusted, a.reading))
		if half := (len(servers) + 1) / 2; before < half && len(trusted) == half {
			defer time.AfterFunc(latecomers, cancel).Stop()
		}
	}
	if len(trusted) == 0 {
		return reading{}, fmt.Errorf("%w%s: %w", ErrNoServer, origin, byCause(failed))
	}
	return best(trusted)
}

// oneVoteEach leaves out what a server has answered under a second name, or a second
// spelling of it: it must not outvote another by itself.
func oneVoteEach(readings []reading) (each []reading) {
	slices.SortFunc(readings, func(a, b reading) int {
		return cmp.Or(strings.Compare(a.address, b.address), cmp.Compare(a.uncertainty, b.uncertainty))
	})
	return slices.CompactFunc(readings, func(a, b reading) bool { return a.address == b.address })
}

// askServer asks one server, and once more if it stayed silent or asked to be
// left alone for a moment.
func (k *Keeper) askServer(ctx context.Context, server string, again time.Duration) (reading, error) {
	start := time.Now()
	r, err := k.question(ctx, server)
	var silent net.Error
	if err == nil || !errors.Is(err, errRate) && !(errors.As(err, &silent) && silent.Timeout()) {
		return r, err
	}
	retry := time.NewTimer(time.Until(start.Add(again)))
	defer retry.Stop()
	select {
	case <-retry.C:
	case <-ctx.Done():
		return r, err
	}
	if r, next := k.question(ctx, server); next == nil || ctx.Err() == nil {
		return r, next
	}
	return r, err
}

// question is one question and its answer, if that can be trusted.
func (k *Keeper) question(ctx context.Context, server string) (reading, error) {
	r := reading{server: server}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stopClosing := func() bool { return true }
	defer func() { stopClosing() }()
	before := time.Now()
	response, err := ntp.QueryWithOptions(server, ntp.QueryOptions{
		Timeout:       answerTime,
		GetSystemTime: k.now,
		// A dialer of our own, because the names are looked up there: the default
		// one would wait for a dead name server as long as that likes.
		Dialer: func(_, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "udp", address)
			if err == nil {
				r.address = unmapped(conn.RemoteAddr())
				stopClosing = context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	})
	after := time.Now()
	if err != nil {
		return r, silence(ctx, err)
	}
	moved := after.Round(0).Sub(before.Round(0)) - after.Sub(before) // wall less monotonic
	if moved.Abs() > minDispersion {
		return r, errors.New("this host's clock was set while the server was asked")
	}
	if err := doubt(response); err != nil {
		return r, err
	}
	t := response.Timestamps
	// Halved before they are added: the sum of two centuries overflows.
	r.offset = t.ServerRecv.Sub(t.ClientXmit)/2 + t.ServerXmit.Sub(t.ClientRecv)/2
	r.uncertainty, r.stratum, r.at = response.RootDistance, response.Stratum, t.ClientRecv
	return r, nil
}

// unmapped is an address in one spelling.
func unmapped(address net.Addr) string {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return address.String()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()).String()
}

// errRate: the server answers, but not so often.
var errRate = errors.New("kiss of death: RATE")

// doubt says why an answer can't be trusted. Validate alone would let a server
// that calls itself version 5 get away with "not in sync", and a server that
// claims to have held the question for longer than it was gone with any offset.
func doubt(r *ntp.Response) error {
	if r.Version != 3 && r.Version != 4 {
		return fmt.Errorf("answers in NTP version %d, which was not asked", r.Version)
	}
	if r.Stratum == 0 && r.KissCode == "RATE" {
		return errRate
	}
	if r.Stratum == 0 && r.KissCode != "" {
		return fmt.Errorf("kiss of death: %s", r.KissCode)
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if r.RootDistance > maxDistance {
		return fmt.Errorf("its time is uncertain by %v", r.RootDistance.Round(time.Millisecond))
	}
	t := r.Timestamps
	if held, gone := t.ServerXmit.Sub(t.ServerRecv), t.ClientRecv.Sub(t.ClientXmit); held > gone+minDispersion {
		return fmt.Errorf("says that it took %v over an answer that came after %v", held, gone)
	}
	return nil
}

// best is the answer with the smallest root distance of those that the majority
// bears out: each says that the time is within its uncertainty, and more than
// half of them have a time in common. The others are falsetickers (RFC 5905,
// 11.2.1). Without a majority, or where a server that is unsure makes two of them
// that contradict each other, it is an ErrNoMajority.
func best(readings []reading) (reading, error) {
	var borneOut []reading
	isTie := false
	for _, edge := range readings { // the most agree at the lower end of one of them
		var agree []reading
		for _, r := range readings {
			if low, high := r.within(); low <= edge.low() && edge.low() <= high {
				agree = append(agree, r)
			}
		}
		switch {
		case len(agree) > len(borneOut):
			borneOut, isTie = agree, false
		case len(agree) == len(borneOut) && !closest(agree).agrees(closest(borneOut)):
			isTie = true
		}
	}
	if 2*len(borneOut) <= len(readings) || isTie {
		return reading{}, fmt.Errorf("%w: %s", ErrNoMajority, saidBy(readings))
	}
	b := closest(borneOut)
	for _, r := range readings {
		if !slices.ContainsFunc(borneOut, func(other reading) bool { return other.server == r.server }) {
			b.falsetickers = append(b.falsetickers, r.server)
		}
	}
	return b, nil
}

// closest is the one with the smallest root distance.
func closest(readings []reading) reading {
	return slices.MinFunc(readings, func(x, y reading) int { return cmp.Compare(x.uncertainty, y.uncertainty) })
}

// agrees says whether two readings have a time in common.
func (r reading) agrees(other reading) bool {
	low, high := r.within()
	otherLow, otherHigh := other.within()
	return low <= otherHigh && otherLow <= high
}

// within is the range of offsets that a reading allows, with what two right
// clocks may differ by.
func (r reading) within() (low, high time.Duration) {
	slack := r.uncertainty + minDispersion/2
	return r.offset - slack, r.offset + slack
}

func (r reading) low() time.Duration {
	low, _ := r.within()
	return low
}

// saidBy lists what each server says.
func saidBy(readings []reading) string {
	var all []string
	for _, r := range readings {
		all = append(all, fmt.Sprintf("%s says %v ± %v", r.server, rounded(r.offset), rounded(r.uncertainty)))
	}
	return strings.Join(all, ", ")
}

// silence turns "use of closed network connection", which is our own way to
// stop waiting, into what happened.
func silence(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return noAnswer{}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return noAnswer{}
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(lookup.Err) // without the name server's address
	}
	// The address is said already, and a port of ours makes each error another.
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

// noAnswer is a net.Error that says what a timeout means here.
type noAnswer struct{}

func (noAnswer) Error() string   { return "no answer" }
func (noAnswer) Timeout() bool   { return true }
func (noAnswer) Temporary() bool { return true }

// byCause is one line, with the servers that failed alike together.
func byCause(failed map[string]error) error {
	servers := map[string][]string{} // by what is wrong
	causes := map[string]error{}
	for _, server := range slices.Sorted(maps.Keys(failed)) {
		text := failed[server].Error()
		servers[text], causes[text] = append(servers[text], server), failed[server]
	}
	var err error
	for _, text := range slices.Sorted(maps.Keys(causes)) {
		next := fmt.Errorf("%s: %w", strings.Join(servers[text], ", "), causes[text])
		if err != nil {
			next = fmt.Errorf("%w; %w", err, next)
		}
		err = next
	}
	return err
}
