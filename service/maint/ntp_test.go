package maint

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"

	"github.com/runnel-io/runnel/tests/rig"
)

var lies = map[string]struct {
	tell func(n int, p packet) packet
	want string // in the error
}{
	"kiss of death, RATE":  {func(_ int, p packet) packet { return p.kiss("RATE") }, "RATE"},
	"kiss of death, DENY":  {func(_ int, p packet) packet { return p.kiss("DENY") }, "DENY"},
	"stratum 0":            {func(_ int, p packet) packet { return p.stratum(0) }, "kiss of death"},
	"stratum 16":           {func(_ int, p packet) packet { return p.stratum(16) }, "stratum"},
	"leap 3":               {func(_ int, p packet) packet { return p.flags(3, 4, 4) }, "leap"},
	"leap 3 in version 5":  {func(_ int, p packet) packet { return p.flags(3, 5, 4) }, "version 5"},
	"version 0":            {func(_ int, p packet) packet { return p.flags(0, 0, 4) }, "version 0"},
	"client mode":          {func(_ int, p packet) packet { return p.flags(0, 4, 3) }, "mode"},
	"symmetric mode":       {func(_ int, p packet) packet { return p.flags(0, 4, 2) }, "mode"},
	"answer to another":    {func(_ int, p packet) packet { p[24]++; return p }, "match"},
	"no transmit time":     {func(_ int, p packet) packet { clear(p[40:]); return p }, "transmit"},
	"sent before received": {func(_ int, p packet) packet { return p.received(time.Now().Add(time.Hour)) }, "backwards"},
	"held for ten seconds": {func(_ int, p packet) packet { return p.received(time.Now().Add(-10 * time.Second)) }, "took"},
	"reference tomorrow":   {func(_ int, p packet) packet { return p.reference(time.Now().Add(24 * time.Hour)) }, "time"},
	"reference long ago":   {func(_ int, p packet) packet { return p.reference(time.Now().Add(-72 * time.Hour)) }, "fresh"},
	"very uncertain":       {func(_ int, p packet) packet { return p.dispersion(10 * time.Second) }, "uncertain"},
	"uncertain beyond use": {func(_ int, p packet) packet { return p.dispersion(100 * time.Second) }, "dispersion"},
	"short":                {func(_ int, p packet) packet { return p[:47] }, "127.0.0.1"},
	"empty":                {func(_ int, p packet) packet { return p[:0] }, "127.0.0.1"},
	"noise":                {func(_ int, p packet) packet { return packet(strings.Repeat("\xa5", 900)) }, "127.0.0.1"},
	"silence":              {func(int, packet) packet { return nil }, "no answer"},
}

// callersWait is how long a caller waits: in earnest on a quiet machine (tests/prove
// ends), with all that a busy one may be late elsewhere.
func callersWait() time.Duration {
	if os.Getenv("RUNNEL_LONG") != "" {
		return 4 * time.Second
	}
	return 40 * time.Second
}

func TestLiesAreNeverSynchronised(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serveTime(t, 0, lie.tell)
			k, m := keeper(t, Config{Servers: []string{server.address}, AllowSet: true})
			started := time.Now()
			reply, err := maint(k, &pb.ClockQuery{Time: time.Now().Unix(), Sync: true, Force: true})
			if err != nil || reply.Clock.Sync.Status != StatusIndeterminate || !strings.Contains(reply.Error, lie.want) {
				t.Errorf("sync: got %v, %v; want status 2 and %q", reply, err, lie.want)
			}
			if reply.Clock.Diff.Dangerous || reply.Clock.Server != "" {
				t.Errorf("sync: got %v; want the caller's time compared all the same, and no server believed", reply)
			}
			reply, err = maint(k, &pb.ClockQuery{Ntp: true})
			if !errors.Is(err, ErrNoServer) || reply.Clock.Sync.Status != StatusNotChecked || !reply.Clock.Diff.Dangerous {
				t.Errorf("ntp: got %v, %v; want no server to be usable", reply, err)
			}
			if took := time.Since(started); took > 2*callersWait() {
				t.Errorf("two requests took %v, want at most 4 s each", took)
			}
			m.untouched(t)
		})
	}
}

func TestALiarBesideAnHonestServer(t *testing.T) {
	honest := serveTime(t, 0, nil)
	var servers []string
	for _, lie := range lies {
		servers = append(servers, serveTime(t, time.Hour, lie.tell).address)
	}
	for _, liar := range servers {
		k := New(Config{Servers: []string{liar, honest.address}})
		reply, err := maint(k, &pb.ClockQuery{Ntp: true})
		if err != nil || reply.Clock.Server != honest.address || math.Abs(reply.Clock.Offset) > 50 {
			t.Errorf("got %v, %v; want the honest server believed", reply, err)
		}
	}
}

func TestBestServer(t *testing.T) {
	at := func(offset, dispersion time.Duration) *fake {
		return serveTime(t, offset, func(_ int, p packet) packet { return p.dispersion(dispersion) })
	}
	far, near, lying := at(0, 40*time.Millisecond), at(0, 5*time.Millisecond), at(time.Minute, 0)
	for name, test := range map[string]struct {
		servers []*fake
		want    *fake
	}{
		"root distance":           {[]*fake{far, near}, near},
		"outvoted, good as it is": {[]*fake{far, lying, near}, near},
	} {
		var addresses []string
		for _, s := range test.servers {
			addresses = append(addresses, s.address)
		}
		reply, err := maint(New(Config{Servers: addresses}), &pb.ClockQuery{Ntp: true})
		if err != nil || reply.Clock.Server != test.want.address {
			t.Errorf("%s: got %v, %v; want %s", name, reply, err, test.want.address)
		}
	}
	reply, _ := maint(New(Config{Servers: []string{near.address}}), &pb.ClockQuery{Ntp: true})
	if u := reply.Clock.Uncertainty; u < 4.9 || u > 100 || reply.Clock.Stratum != 2 {
		t.Errorf("got %v; want the root distance, some 5 ms, and stratum 2", reply.Clock)
	}
}

func TestMajority(t *testing.T) {
	at := func(offset time.Duration) string {
		return serveTime(t, offset, func(_ int, p packet) packet { return p.dispersion(20 * time.Millisecond) }).address
	}
	right, near, also := at(0), at(10*time.Millisecond), at(5*time.Millisecond)
	wrong, other, third := at(time.Minute), at(-time.Hour), at(time.Second)
	for name, c := range map[string]struct {
		servers, falsetickers []string // nil falsetickers: nobody is believed
	}{
		"two that agree":       {[]string{right, near}, []string{}},
		"one alone":            {[]string{wrong}, []string{}},
		"two that don't":       {[]string{right, wrong}, nil},
		"three that don't":     {[]string{right, wrong, other}, nil},
		"two against two":      {[]string{right, near, wrong, other}, nil},
		"two of five":          {[]string{right, near, wrong, other, third}, nil},
		"two of three":         {[]string{right, near, wrong}, []string{wrong}},
		"three of five":        {[]string{right, other, near, wrong, also}, []string{other, wrong}},
		"named twice, no more": {[]string{wrong, wrong, right}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k, m := keeper(t, Config{Servers: c.servers, AllowSet: true})
			reply, err := maint(k, &pb.ClockQuery{Ntp: true, Sync: true})
			if c.falsetickers != nil {
				got := slices.Sorted(slices.Values(reply.Clock.Falsetickers))
				if err != nil || !slices.Equal(got, slices.Sorted(slices.Values(c.falsetickers))) || slices.Contains(c.falsetickers, reply.Clock.Server) {
					t.Errorf("got %v, %v; want the falsetickers %v", reply, err, c.falsetickers)
				}
				return
			}
			if !errors.Is(err, ErrNoMajority) || !strings.Contains(reply.Error, "no majority") || reply.Clock.Sync.Status != StatusIndeterminate {
				t.Errorf("got %v, %v; want no majority and status 2", reply, err)
			}
			for _, server := range c.servers {
				if !strings.Contains(reply.Error, server) {
					t.Errorf("the error doesn't say what %s says: %s", server, reply.Error)
				}
			}
			m.untouched(t)
		})
	}
}

// A server has one vote, however often and in which spelling it is named.
func TestOneVoteUnderManyNames(t *testing.T) {
	honest, liar := serveTime(t, 0, nil), serveTime(t, time.Minute, nil)
	_, port, _ := net.SplitHostPort(liar.address)
	names := []string{liar.address, "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "LOCALHOST:" + port}
	k, m := keeper(t, Config{Servers: append(names, honest.address), AllowSet: true})
	reply, err := maint(k, &pb.ClockQuery{Ntp: true, Sync: true})
	if !errors.Is(err, ErrNoMajority) || reply.Clock.Sync.Status != StatusIndeterminate {
		t.Errorf("got %v, %v; want no majority: one says this and one that", reply, err)
	}
	m.untouched(t)
}

// A server that is unsure agrees with everybody. It is no reason to believe either of
// two that contradict each other, and never a matter of who answered first.
func TestTwoMajoritiesAreNone(t *testing.T) {
	at := func(offset, uncertainty time.Duration) reading {
		return reading{server: offset.String(), offset: offset, uncertainty: uncertainty}
	}
	here, there, unsure := at(0, 10*time.Millisecond), at(time.Second, 10*time.Millisecond), at(500*time.Millisecond, 600*time.Millisecond)
	for _, order := range [][]reading{{here, there, unsure}, {there, here, unsure}, {unsure, there, here}, {unsure, here, there}} {
		if r, err := best(order); !errors.Is(err, ErrNoMajority) {
			t.Errorf("believed %v, %v", r, err)
		}
	}
	also := at(5*time.Millisecond, 10*time.Millisecond)
	for _, order := range [][]reading{{here, there, unsure, also}, {there, unsure, also, here}} {
		if r, err := best(order); err != nil || r.offset > time.Millisecond*5 || !slices.Equal(r.falsetickers, []string{there.server}) {
			t.Errorf("got %v, %v; want one of the two that agree", r, err)
		}
	}
}

// A host that was told of no server is compared with the default ones, and a host
// without a way to them says which they are.
func TestDefaultServers(t *testing.T) {
	server := serveTime(t, 0, nil)
	reply, err := maint(New(Config{Defaults: []string{server.address}}), &pb.ClockQuery{Ntp: true})
	if err != nil || reply.Clock.Server != server.address {
		t.Errorf("got %v, %v", reply, err)
	}
	_, err = maint(New(Config{Defaults: []string{"127.0.0.1:1"}}), &pb.ClockQuery{Ntp: true})
	if !errors.Is(err, ErrNoServer) || !strings.Contains(err.Error(), "(none is configured): 127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	if n := len(DefaultServers()); n < 4 {
		t.Errorf("%d default servers can't outvote one that lies", n)
	}
}

func TestNTPBase(t *testing.T) {
	server := serveTime(t, 7210*time.Millisecond, nil)
	before := time.Now()
	reply, err := maint(New(Config{Servers: []string{server.address}}), &pb.ClockQuery{Ntp: true})
	if err != nil {
		t.Fatal(err)
	}
	c := reply.Clock
	if off := math.Abs(c.Offset - 7210); off > 50 || math.Abs(float64(c.Diff.Time)-c.Offset) > 0.5 || !c.Diff.Dangerous {
		t.Errorf("got diff %v, offset %v; want 7,210 ms behind, dangerous", c.Diff, c.Offset)
	}
	if at := time.Unix(0, c.LocalNanos); at.Before(before.Round(0)) || at.After(time.Now()) {
		t.Errorf("got local time %v, want one during the request", at)
	}
}

func TestAddressForms(t *testing.T) {
	server := serveTime(t, 0, nil)
	_, port, _ := net.SplitHostPort(server.address)
	for _, address := range []string{"127.0.0.1:" + port, "[::ffff:127.0.0.1]:" + port, "localhost:" + port} {
		reply, err := maint(New(Config{Servers: []string{address}}), &pb.ClockQuery{Ntp: true})
		if err != nil || reply.Clock.Server != address {
			t.Errorf("%s: got %v, %v", address, reply, err)
		}
	}
	for _, address := range []string{"", "[::1", "127.0.0.1:http x", "no such host", "256.1.1.1:123"} {
		if _, err := maint(New(Config{Servers: []string{address}}), &pb.ClockQuery{Ntp: true}); !errors.Is(err, ErrNoServer) {
			t.Errorf("%q: got %v, want an error in words", address, err)
		}
	}
}

func TestSilentServersKeepNobodyWaiting(t *testing.T) {
	silent := func(int, packet) packet { return nil }
	var servers []string
	for range 5 {
		servers = append(servers, serveTime(t, 0, silent).address)
	}
	k, m := keeper(t, Config{Servers: servers, AllowSet: true})
	for _, limit := range []time.Duration{300 * time.Millisecond, time.Second, 10 * time.Second} {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		started := time.Now()
		reply, err := k.Maint(ctx, &pb.Maint{Clock: &pb.ClockQuery{Time: 1, Sync: true, Force: true}})
		if err != nil || reply.Clock.Sync.Status != StatusIndeterminate {
			t.Errorf("got %v, %v; want status 2", reply, err)
		}
		if late := callersWait() - wholeTime; time.Since(started) > min(limit, wholeTime)+late {
			t.Errorf("took %v of %v", time.Since(started), limit)
		}
		if left := timeFor(ctx); left > min(limit, wholeTime) {
			t.Errorf("%v of %v is for the servers", left, limit)
		}
		cancel()
	}
	m.untouched(t)
}

func TestOneDeadServerCostsLittle(t *testing.T) {
	dead := serveTime(t, 0, func(int, packet) packet { return nil })
	live := serveTime(t, 0, nil)
	k, fastest := New(Config{Servers: []string{dead.address, live.address}}), time.Hour
	for range 20 { // a busy machine may be late at any one of them
		started := time.Now()
		if _, err := maint(k, &pb.ClockQuery{Ntp: true}); err != nil {
			t.Fatal(err)
		}
		if fastest = min(fastest, time.Since(started)); fastest < answerTime {
			return
		}
	}
	t.Errorf("took %v, want less than the wait for a silent server", fastest)
}

func TestALostPacketIsAskedForAgain(t *testing.T) {
	server := serveTime(t, 0, func(n int, p packet) packet {
		if n == 1 {
			return nil
		}
		return p
	})
	if reply, err := maint(New(Config{Servers: []string{server.address}}), &pb.ClockQuery{Ntp: true}); err != nil {
		t.Errorf("got %v, %v; want the second packet's answer", reply, err)
	}
}

func TestNoServers(t *testing.T) {
	k := New(Config{AllowSet: true})
	if reply, err := maint(k, &pb.ClockQuery{Ntp: true}); !errors.Is(err, ErrNoServer) || !strings.Contains(reply.Error, "none is configured") {
		t.Errorf("got %v, %v", reply, err)
	}
}

// The same cause is the same text from every host.
func TestNobodyListens(t *testing.T) {
	_, err := maint(New(Config{Servers: []string{"127.0.0.1:1"}}), &pb.ClockQuery{Ntp: true})
	if !errors.Is(err, ErrNoServer) || strings.Contains(err.Error(), "->") || !strings.Contains(err.Error(), "127.0.0.1:1: ") {
		t.Errorf("got %v", err)
	}
}

// Many requests leave no socket open.
func TestNoDescriptorIsLeft(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("no /proc here: descriptors can't be counted")
	}
	open := func() int { fds, _ := os.ReadDir("/proc/self/fd"); return len(fds) }
	server := serveTime(t, 0, nil)
	k := New(Config{Servers: []string{server.address, "127.0.0.1:1"}})
	maint(k, &pb.ClockQuery{Ntp: true})
	before := open()
	for range 100 {
		maint(k, &pb.ClockQuery{Ntp: true})
	}
	after := 0
	if !rig.HappensIn(rig.Patience, func() bool { after = open(); return after <= before+10 }) {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
