package presence

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// life is one start of a runner, as far as presence goes.
type life struct {
	*Presence
	records    *store.Store
	superseded atomic.Pointer[error]
	cut        atomic.Pointer[error] // why NATS can't be reached
	waits      atomic.Int64
}

// start makes a Presence on a server, which has claimed nothing yet.
func start(t *testing.T, server *embedded.Server, dir string, change func(*Config)) *life {
	t.Helper()
	data, err := OpenDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(data.Close)
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	l := &life{}
	if l.records, err = store.Open(t.Context(), rig.JetStream(t, rig.Connect(t, server)), space, store.Config{}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Name: "web1", Version: "1.2.3", Pools: []string{"default"}, Data: data,
		Labels:       func() map[string]string { return map[string]string{"env": "prod"} },
		CardInterval: 100 * time.Millisecond, OfflineAfter: time.Second, LostAfter: 2 * time.Second, OnDemand: true,
		Languages:  func(context.Context) []string { return []string{"go 1.26"} },
		EnsureLogs: func(context.Context) error { return nil },
		Answers:    func(context.Context) bool { return false },
		Connected: func() error {
			if err := l.cut.Load(); err != nil {
				return *err
			}
			return nil
		},
		OnWait:       func(error) { l.waits.Add(1) },
		OnSuperseded: func(err error) { l.superseded.Store(&err) },
		Logger:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	l.Presence = New(cfg)
	return l
}

// claimed is a start that has taken the identity; it ends with the test.
func claimedLife(t *testing.T, server *embedded.Server, dir string, change func(*Config)) *life {
	t.Helper()
	l := start(t, server, dir, change)
	if err := l.Claim(rig.Within(t, time.Minute), l.records); err != nil {
		t.Fatal(err)
	}
	l.findAbilities(nil)
	return l
}

func (l *life) stored(t *testing.T) store.Seen {
	t.Helper()
	seen, err := l.records.Card(t.Context(), "web1")
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// A card is there from the claim on, says when requests are heard, is written again and
// again, and says at the end that the runner has stopped.
func TestLifeOfACard(t *testing.T) {
	l := claimedLife(t, rig.Memory(t), t.TempDir(), nil)
	c := l.stored(t).Card
	if c.GetState() != StateInitialising || c.GetInstance() == "" || c.GetStart() == 0 || c.GetVersion() != "1.2.3" || c.GetCpus() < 1 || c.GetMemory() < 1<<20 {
		t.Errorf("got %v", c)
	}
	if c.GetLabels()["env"] != "prod" || !slices.Equal(c.GetPools(), []string{"default"}) || c.ClockOffset == nil {
		t.Errorf("got labels %v, pools %v, clock %v", c.GetLabels(), c.GetPools(), c.ClockOffset)
	}
	if err := l.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the card says that it is ready", func() bool { return l.stored(t).Card.GetState() == StateReady })
	first := l.stored(t)
	if first.Card.GetStart() != c.GetStart() {
		t.Errorf("got start %d, want %d", first.Card.GetStart(), c.GetStart())
	}
	rig.Eventually(t, "the card is written again by itself", func() bool { return l.stored(t).Rev > first.Rev })
	l.Prepares([]string{"a toolchain"})
	rig.Eventually(t, "the card says what is prepared", func() bool {
		return slices.Equal(l.stored(t).Card.GetPreparing(), []string{"a toolchain"})
	})
	l.PlacesChanged()
	l.Changed()
	l.Detach()
	l.Close()
	if last := l.stored(t).Card; last.GetState() != store.StateStopped {
		t.Errorf("got state %s at the end", last.GetState())
	}
}

// The same directory is the same runner: its next start has a higher number.
func TestNextLifeHasTheIdentity(t *testing.T) {
	server, dir := rig.Memory(t), t.TempDir()
	first := claimedLife(t, server, dir, nil)
	before := first.stored(t).Card
	first.Close()
	first.cfg.Data.Close()
	second := claimedLife(t, server, dir, nil)
	defer second.Close()
	after := second.stored(t).Card
	if after.GetInstance() != before.GetInstance() || after.GetStart() <= before.GetStart() {
		t.Errorf("got instance %s, start %d after %s, %d", after.GetInstance(), after.GetStart(), before.GetInstance(), before.GetStart())
	}
}

// A name that answers is another runner's, and nothing of it is touched.
func TestNameThatAnswersIsRefused(t *testing.T) {
	server := rig.Memory(t)
	first := claimedLife(t, server, t.TempDir(), nil)
	defer first.Close()
	second := start(t, server, t.TempDir(), func(c *Config) { c.Answers = func(context.Context) bool { return true } })
	err := second.Claim(rig.Within(t, time.Minute), second.records)
	if !errors.Is(err, ErrNameTaken) {
		t.Errorf("got %v, want ErrNameTaken", err)
	}
	if got := first.stored(t).Card.GetInstance(); got != first.cfg.Data.Instance {
		t.Errorf("the card is %s's", got)
	}
}

// One that does not answer and does not write is waited for, and then its name is free.
func TestNameOfARunnerThatIsGoneIsWaitedFor(t *testing.T) {
	server := rig.Memory(t)
	gone := claimedLife(t, server, t.TempDir(), nil)
	gone.cancel(errClosed) // as if it had been killed: no goodbye
	gone.beats.Wait()
	next := start(t, server, t.TempDir(), nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	claimed := make(chan error, 1)
	go func() { claimed <- next.Claim(ctx, next.records) }()
	rig.Eventually(t, "somebody is told of the wait", func() bool { return next.waits.Load() > 0 })
	cancel(enough)
	if err := <-claimed; !errors.Is(err, enough) {
		t.Errorf("got %v, want that it waits", err)
	}
}

// A start that takes over ends the earlier one, which is told once and writes no more.
func TestSuperseded(t *testing.T) {
	server := rig.Memory(t)
	l := claimedLife(t, server, t.TempDir(), nil)
	seen := l.stored(t)
	other := seen.Card
	other.Start, other.Host = seen.Card.GetStart()+1, "elsewhere"
	rig.Eventually(t, "another start writes its card", func() bool {
		_, err := l.records.ClaimCard(t.Context(), other, l.stored(t).Rev)
		return err == nil
	})
	rig.Eventually(t, "the first one is told", func() bool { return l.superseded.Load() != nil })
	if err := *l.superseded.Load(); !errors.As(err, new(*store.SupersededError)) {
		t.Errorf("got %v", err)
	}
	if err := l.write(t.Context(), l.Card()); !errors.Is(err, errSuperseded) {
		t.Errorf("got %v, want that it writes no more", err)
	}
	l.Close()
	if got := l.stored(t).Card; got.GetHost() != "elsewhere" || got.GetState() == store.StateStopped {
		t.Errorf("got %v, want the other one's card", got)
	}
}

// Health is the worst of what is known; a cause that is gone is forgotten.
func TestHealth(t *testing.T) {
	l := start(t, rig.Memory(t), t.TempDir(), nil)
	expect := func(state, text string) {
		t.Helper()
		if h := l.Health(); h.Runner != "web1" || h.State != state || h.Error != text {
			t.Errorf("got %+v, want %s %q", h, state, text)
		}
	}
	expect(StateInitialising, "")
	l.ready = true
	expect(StateReady, "")
	l.judge(errors.New("NATS says\nno"))
	if h := l.Health(); h.State != StateUnhealthy || strings.Contains(h.Error, "\n") {
		t.Errorf("got %+v, want one line", h)
	}
	l.judge(nil)
	expect(StateReady, "")
	cut := errors.New("no route")
	l.cut.Store(&cut)
	expect(StateUnhealthy, "no route")
	l.judge(errors.New("later")) // what is not reached at all comes first
	expect(StateUnhealthy, "no route")
	l.cut.Store(nil)
	expect(StateUnhealthy, "later")
}

// What a host can't do is said in words, for each thing.
func TestAbilitiesInWords(t *testing.T) {
	for name, c := range map[string]struct {
		facts     sandbox.Facts
		isolation []string
		missing   []string
	}{
		"nothing": {sandbox.Facts{}, []string{"none"}, nil},
		"all":     {sandbox.Facts{Isolation: []sandbox.Isolation{sandbox.Standard, sandbox.Strict}}, []string{"none", "standard", "strict"}, nil},
		"no cgroup": {sandbox.Facts{NoCgroup: "not mounted", NoLimits: []string{"cpuMax", "ioMax"}}, []string{"none"},
			[]string{"no cgroup: not mounted", "no limits cpuMax, ioMax: not mounted"}},
		"no controllers": {sandbox.Facts{NoLimits: []string{"ioMax"}, NoControllers: "not delegated"}, []string{"none"}, []string{"no limits ioMax: not delegated"}},
		"metered":        {sandbox.Facts{Metered: []string{"memory"}}, []string{"none"}, []string{"no memory controller: that limit is held by sampling every 100 ms"}},
		"no strict": {sandbox.Facts{Isolation: []sandbox.Isolation{sandbox.Standard}, NoIsolation: map[sandbox.Isolation]string{sandbox.Strict: "no landlock"}},
			[]string{"none", "standard"}, []string{"no isolation strict: no landlock"}},
	} {
		got := &pb.Card{Missing: []string{"of before"}}
		abilitiesOf(c.facts, got)
		if !slices.Equal(got.Isolation, c.isolation) || !slices.Equal(got.Missing, c.missing) {
			t.Errorf("%s: got %q, %q", name, got.Isolation, got.Missing)
		}
	}
}

// After an absence runs are looked at twice, and then no more.
func TestAbsence(t *testing.T) {
	a := absence{since: time.Now(), limit: time.Hour}
	if a.over() {
		t.Error("it was away for no time")
	}
	a.since = time.Now().Add(-2 * time.Hour)
	for look, want := range []bool{true, true, false} {
		if a.over() != want {
			t.Errorf("look %d: want %t", look, want)
		}
		a.looks = max(0, a.looks-1)
	}
}

func TestDataDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	first, err := OpenDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.isNew || first.Instance == "" || first.Origin != (Place{}) {
		t.Errorf("got %+v, want a new one", first)
	}
	if _, err := OpenDataDir(dir); !errors.Is(err, errLocked) || !strings.HasPrefix(err.Error(), "cannot use data directory "+dir) {
		t.Errorf("got %v, want that another runner has it", err)
	}
	if err := first.used(); err != nil || first.Origin != first.Place {
		t.Errorf("got %+v, %v", first, err)
	}
	first.Close()
	again, err := OpenDataDir(dir)
	if err != nil || again.isNew || again.Instance != first.Instance || again.Origin != first.Place {
		t.Errorf("got %+v, %v, want the same one", again, err)
	}
	if err := again.newInstance(); err != nil || again.Instance == first.Instance {
		t.Errorf("got %s, %v, want another instance", again.Instance, err)
	}
	again.Close()
	if err := replaceFile(filepath.Join(dir, "origin"), []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	if third, err := OpenDataDir(dir); err != nil || third.Origin != (Place{}) {
		t.Errorf("got %+v, %v, want that rubbish says nothing", third, err)
	} else {
		third.Close()
	}
	temporary, err := OpenDataDir("")
	if err != nil {
		t.Fatal(err)
	}
	temporary.Close()
	if again, err := OpenDataDir(temporary.Path); err != nil || again.Instance == temporary.Instance {
		t.Errorf("got %v, %v, want nothing left of a temporary one", again, err)
	} else {
		again.Close()
	}
}

// Nobody's runs are lost while NATS itself was away a moment ago, or without a runner to mark them.
func TestNobodyIsLostTooSoon(t *testing.T) {
	l := start(t, rig.Memory(t), t.TempDir(), nil)
	l.store = l.records
	runs := []*pb.Run{{Id: "r", Runner: "gone", State: pb.State_RUNNING}}
	if l.MarkLost(t.Context(), runs) {
		t.Error("it was marked without a runner")
	}
	back := time.Now()
	l.backAt.Store(&back)
	if l.MarkLost(t.Context(), runs) {
		t.Error("it was marked right after NATS was away")
	}
	for range 2 {
		if l.MarkLostOfDead(t.Context()) {
			t.Error("somebody was found in an empty fleet")
		}
	}
	l.dead.mu.Lock()
	defer l.dead.mu.Unlock()
	if l.MarkLostOfDead(t.Context()) {
		t.Error("two look at once")
	}
}
