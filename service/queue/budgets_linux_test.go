package queue_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestBudgets measures, in one run, what the queue and schedules may cost at most.
// Server and runners are processes of their own; seconds are those of this machine.
func TestBudgets(t *testing.T) {
	if os.Getenv("RUNNEL_LONG") == "" {
		t.Skip("tests/prove measures it at its whole size")
	}
	b := &budgets{t: t}
	for _, part := range []struct {
		name string
		do   func()
	}{
		{"latency and throughput", b.quickness}, {"100000 waiting tasks", b.crowd},
		{"10000 tasks of a full key", b.fullKey}, {"1000 schedules", b.idleSchedules},
	} {
		t.Run(part.name, func(t *testing.T) {
			b.t = t
			b.begin()
			part.do()
		})
	}
}

type budgets struct {
	t      *testing.T
	w      *world
	server *rig.Process
}

// begin starts a server without anything.
func (b *budgets) begin() {
	port := rig.FreePort(b.t)
	b.server = start(b.t, child{Server: true, Name: "n", Data: b.t.TempDir(), Port: port})
	b.server.Says("ready")
	b.w = newWorldAt(b.t, fmt.Sprintf("nats://127.0.0.1:%d", port))
}

// most fails if a figure is above its budget, and says it in any case.
func (b *budgets) most(what string, got, budget float64, unit string) {
	b.t.Helper()
	b.t.Logf("%s: %.2f %s (at most %g)", what, got, unit, budget)
	if got > budget {
		b.t.Errorf("%s: %.2f %s, at most %g are allowed", what, got, unit, budget)
	}
}

func (b *budgets) least(what string, got, budget float64, unit string) {
	b.t.Helper()
	b.t.Logf("%s: %.2f %s (at least %g)", what, got, unit, budget)
	if got < budget {
		b.t.Errorf("%s: %.2f %s, at least %g are asked", what, got, unit, budget)
	}
}

func taskOf(id string, argv ...string) *pb.TaskRequest {
	return &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv}}}
}

// fill stores n pieces of work and returns when all are stored.
func (b *budgets) fill(n int, item func(i int) client.Work) time.Duration {
	began := time.Now()
	stored := make([]jetstream.PubAckFuture, n)
	for i := range stored {
		var err error
		if _, stored[i], err = b.w.c.EnqueueAsync(b.t.Context(), item(i)); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, s := range stored {
		select {
		case <-s.Ok():
		case err := <-s.Err():
			b.t.Fatal(err)
		case <-b.t.Context().Done():
			b.t.Fatal("the test ends")
		}
	}
	return time.Since(began)
}

// quickness: how soon an idle runner starts what was accepted, and how many tasks a
// second it does, beside as many that came directly.
func (b *budgets) quickness() {
	const slots, n = 16, 1000
	b.w.process(child{Name: "idle", Slots: slots})
	var took []time.Duration
	for i := range 300 {
		b.w.put(fmt.Sprint("l", i), "true")
		run := b.w.final(fmt.Sprint("l", i))
		took = append(took, run.GetStarted().AsTime().Sub(run.GetQueued().GetAccepted().AsTime()))
	}
	slices.Sort(took)
	b.most("an idle runner takes work, p50", took[len(took)/2].Seconds()*1000, 5, "ms")
	b.t.Logf("p90 %s, p99 %s", took[len(took)*9/10], took[len(took)*99/100])

	var direct, queued float64 // the best of three turns, one beside the other
	for turn := range 3 {
		direct = max(direct, b.direct(fmt.Sprint("d", turn, "-"), n, slots))
		queued = max(queued, b.queued(fmt.Sprint("q", turn, "-"), n))
	}
	b.t.Logf("direct: %.0f tasks a second, queued: %.0f", direct, queued)
	b.least("throughput with 16 slots, of direct tasks", queued/direct, 0.8, "x")
}

// direct is tasks a second, from the first start to the last end, where as many are
// under way as there are slots.
func (b *budgets) direct(prefix string, n, slots int) float64 {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range slots {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if _, err := b.w.c.Run(b.t.Context(), client.Target{On: "idle"}, taskOf(prefix+strconv.Itoa(i), "true"), client.RunEvents{}); err != nil {
					b.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return b.rate(prefix, n)
}

// queued is the same of work that waits.
func (b *budgets) queued(prefix string, n int) float64 {
	if err := b.w.c.Pause(b.t.Context(), "default", "test"); err != nil {
		b.t.Fatal(err)
	}
	b.fill(n, func(i int) client.Work { return client.Work{Task: taskOf(prefix+strconv.Itoa(i), "true")} })
	if err := b.w.c.Resume(b.t.Context(), "default"); err != nil {
		b.t.Fatal(err)
	}
	b.w.emptied()
	return b.rate(prefix, n)
}

func (b *budgets) rate(prefix string, n int) float64 {
	var first, last time.Time
	for i := range n {
		run := b.w.final(prefix + strconv.Itoa(i))
		if begun := run.GetStarted().AsTime(); first.IsZero() || begun.Before(first) {
			first = begun
		}
		if ended := run.GetEnded().AsTime(); ended.After(last) {
			last = ended
		}
	}
	return float64(n) / last.Sub(first).Seconds()
}

// crowd: a hundred thousand tasks wait.
func (b *budgets) crowd() {
	const n = 100_000
	idle := b.w.process(child{Name: "idle", Slots: 4, Pools: []string{"other"}})
	busy := b.w.process(child{Name: "busy", Slots: 4})
	stop := b.t.TempDir() + "/stop"
	for i := range 4 { // all its slots are taken
		b.w.put(fmt.Sprint("hang", i), hang(stop))
	}
	for i := range 4 {
		b.w.running(fmt.Sprint("hang", i))
	}
	before := b.memory(busy)
	took := b.fill(n, func(i int) client.Work { return client.Work{Task: taskOf(fmt.Sprint("w", i), "true")} })
	b.least("accepting", n/took.Seconds(), 10_000, "tasks a second")

	lines := func() {
		lines, err := b.w.c.Queue(b.t.Context())
		if err != nil || len(lines) != 1 || lines[0].Waiting != n || lines[0].Running != 4 {
			b.t.Errorf("got %+v, %v", lines, err)
		}
	}
	b.most("the numbers of queue ls", b.median(lines), 100, "ms")
	program := rig.Program(b.t)
	b.most("the same by the program", b.median(func() {
		cmd := exec.Command(program, "queue", "ls", "--json")
		cmd.Env = append(os.Environ(), "NATS_URL="+b.w.url, "HOME="+b.t.TempDir(), "XDG_CONFIG_HOME="+b.t.TempDir(), "XDG_DATA_HOME="+b.t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), strconv.Itoa(n)) {
			b.t.Errorf("got %s, %v", out, err)
		}
	}), 200, "ms")

	rest := b.memory(idle)
	b.most("a full runner's memory beyond its own before", b.memory(busy)-before, 10, "MB")
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
	most := 0.0
	rig.EventuallyIn(b.t, time.Minute, "a thousand are done", func() bool {
		most = max(most, b.memory(busy))
		return b.w.left() < n-1000
	})
	b.most("a working runner's memory beyond an idle one's", most-rest, 10, "MB")
}

func (b *budgets) median(do func()) float64 {
	var took []time.Duration
	for range 9 {
		began := time.Now()
		do()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2].Seconds() * 1000
}

// memory is what a process has that is no file's, in MB.
func (b *budgets) memory(p *rig.Process) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kB, _ := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kB) / 1024
		}
	}
	b.t.Fatal("the kernel tells no RssAnon")
	return 0
}

// fullKey: ten thousand tasks wait for one key, and those of another pass them by.
func (b *budgets) fullKey() {
	b.w.process(child{Name: "web1", Slots: 4})
	stop := b.t.TempDir() + "/stop"
	key := func(name string, more ...string) func(*client.Work) {
		return with(b.t, fmt.Sprintf(`{"concurrency":{"key":%q,"max":1}}`, name))
	}
	b.w.put("holder", hang(stop), key("full"))
	b.w.running("holder")
	held := client.Work{Task: taskOf("", "true")}
	key("full")(&held)
	b.fill(10_000, func(i int) client.Work {
		task := &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: fmt.Sprint("k", i)}, Spec: held.Task.GetSpec()}
		return client.Work{Task: task}
	})
	var worst time.Duration
	for i := range 20 {
		id := fmt.Sprint("other", i)
		b.w.put(id, "true", key("other"))
		run := b.w.final(id)
		worst = max(worst, run.GetStarted().AsTime().Sub(run.GetQueued().GetAccepted().AsTime()))
		pause := time.NewTimer(300 * time.Millisecond) // at moments of all kinds
		<-pause.C
	}
	b.most("the worst delay of another key's task", worst.Seconds(), 1, "s")
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// idleSchedules: a thousand that are not due cost nothing.
func (b *budgets) idleSchedules() {
	runner := b.w.process(child{Name: "web1"})
	one := client.Schedule{Name: "first", Spec: schedule.Spec{Cron: "0 0 1 1 *"}, Task: taskOf("", "true")}
	if _, err := b.w.c.PutSchedule(b.t.Context(), one); err != nil {
		b.t.Fatal(err)
	}
	measure := func() (server, work float64) {
		s, r := b.cpu(b.server), b.cpu(runner)
		over := time.NewTimer(30 * time.Second)
		<-over.C
		return b.cpu(b.server) - s, b.cpu(runner) - r
	}
	server, work := measure()
	each(999, func(i int) {
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		s := one
		s.Name = fmt.Sprint("s", i)
		if _, err := b.w.c.PutSchedule(ctx, s); err != nil {
			b.t.Error(err)
		}
	})
	settle := time.NewTimer(2 * time.Second) // what they were stored with is written
	<-settle.C
	serverMany, workMany := measure()
	b.t.Logf("in 30 s: server %.0f ticks, with 1000 schedules %.0f; runner %.0f, %.0f", server, serverMany, work, workMany)
	b.most("what the server needs for 1000 schedules in 30 s", serverMany-server, 15, "ticks of 10 ms")
	b.most("what a runner does", workMany-work, 15, "ticks of 10 ms")
}

// cpu is how long a process has used a processor, in ticks.
func (b *budgets) cpu(p *rig.Process) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user + system)
}
