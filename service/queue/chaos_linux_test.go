package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestChaos is a queue on three replicas while runners and servers are killed
// and frozen at random. What is true is told by the tasks themselves: each start
// leaves a byte in a file of its work.
//
// RUNNEL_QUEUE_CHAOS says how many tasks (60), RUNNEL_QUEUE_SCHEDULES how many
// schedules of a second (5), RUNNEL_QUEUE_FAULTS for how long there are faults,
// RUNNEL_QUEUE_PATIENCE for how long what is left may take then, RUNNEL_CHAOS_SEED
// what happens.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c := &chaos{t: t, tasks: 60, faultsFor: 6 * time.Second, dir: t.TempDir(), accepted: map[int]bool{}, happened: map[string]int{}}
	schedules := 5
	if n, err := strconv.Atoi(os.Getenv("RUNNEL_QUEUE_CHAOS")); err == nil {
		c.tasks, c.faultsFor, c.whole = n, 100*time.Second, true
	}
	if n, err := strconv.Atoi(os.Getenv("RUNNEL_QUEUE_SCHEDULES")); err == nil {
		schedules = n
	}
	if d, err := time.ParseDuration(os.Getenv("RUNNEL_QUEUE_FAULTS")); err == nil {
		c.faultsFor = d
	}
	c.seed = uint64(time.Now().UnixNano())
	if seed, err := strconv.ParseUint(os.Getenv("RUNNEL_CHAOS_SEED"), 10, 64); err == nil {
		c.seed = seed
	}
	t.Logf("RUNNEL_CHAOS_SEED=%d", c.seed)
	c.startAll()
	c.dropSome()
	f := c.startFires(schedules)
	var wg sync.WaitGroup
	wg.Go(c.publish)
	wg.Go(func() { c.faults(rand.New(rand.NewPCG(c.seed, 1))) })
	wg.Wait()
	f.finish()
	patience := 3 * time.Minute
	if d, err := time.ParseDuration(os.Getenv("RUNNEL_QUEUE_PATIENCE")); err == nil {
		patience = d
	}
	if !rig.HappensIn(patience, func() bool { return c.w.left() == 0 }) {
		t.Errorf("%d messages are left in the stream", c.w.left())
	}
	c.check()
	f.check()
	t.Log(c.happened)
}

type chaos struct {
	t         *testing.T
	w         *world
	dir       string
	tasks     int
	faultsFor time.Duration
	// whole: it is not the small size, where a busy machine may be slow.
	whole   bool
	seed    uint64
	servers []*member
	runners []*member

	mu       sync.Mutex
	accepted map[int]bool
	happened map[string]int
}

// member is a process that is started again as it was.
type member struct {
	child
	process *rig.Process
}

// ready waits for longer than others do: there is no quiet moment here.
func (m *member) ready(t *testing.T) {
	rig.EventuallyIn(t, 2*time.Minute, m.Name+" is ready", func() bool { return strings.Contains(m.process.Output(), "ready") })
}

func (c *chaos) startAll() {
	ports := []int{rig.FreePort(c.t), rig.FreePort(c.t), rig.FreePort(c.t)}
	var routes, urls []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	for i, port := range ports {
		m := &member{child: child{Server: true, Name: fmt.Sprint("n", i), Data: c.t.TempDir(), Port: rig.FreePort(c.t), Route: port, Routes: strings.Join(routes, ",")}}
		c.servers = append(c.servers, m)
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", m.Port))
	}
	for _, m := range c.servers {
		m.process = start(c.t, m.child)
	}
	for _, m := range c.servers {
		m.ready(c.t)
	}
	url := strings.Join(urls, ",")
	c.w = newWorldAt(c.t, url)
	rig.EventuallyIn(c.t, time.Minute, "the cluster has a leader", func() bool {
		_, err := c.w.js.CreateOrUpdateKeyValue(rig.Within(c.t, time.Second), jetstream.KeyValueConfig{Bucket: "warm", Replicas: 3})
		return err == nil
	})
	for i := range 4 {
		m := &member{child: child{URL: url, Name: fmt.Sprint("web", i), Data: c.t.TempDir(), Slots: 8, Replicas: 3}}
		m.process = start(c.t, m.child)
		m.ready(c.t)
		c.runners = append(c.runners, m)
	}
}

// dropped is how much work is taken, before all else, by one who dies with it.
const dropped = 8

// dropSome has work be delivered that nobody starts: no attempt may be made of that.
func (c *chaos) dropSome() {
	for _, m := range c.runners {
		m.process.Kill()
	}
	for i := range dropped {
		c.enqueue(i)
	}
	c.w.hog(dropped)
	for _, m := range c.runners {
		m.process = start(c.t, m.child)
	}
	for _, m := range c.runners {
		m.ready(c.t)
	}
}

// Kinds of tasks: what they do, and what is to become of them.
const maxAttempts = 4

func (c *chaos) request(i int) *pb.TaskRequest {
	count := filepath.Join(c.dir, strconv.Itoa(i))
	command := "printf x >>" + count + "; sleep 0." + strconv.Itoa(1+i%5) + "; "
	switch i % 3 {
	case 0:
		command += "exit 0"
	case 1: // fails twice
		command += "[ $(wc -c <" + count + ") -gt 2 ]"
	case 2:
		command += "exit 9"
	}
	req := &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: fmt.Sprint("c", i)}, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{command}}}}
	item := client.Work{Task: req}
	with(c.t, fmt.Sprintf(`{"retries":{"max":%d,"on":["lost","exit"]}}`, maxAttempts-1))(&item)
	return item.Task
}

func (c *chaos) publish() {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				c.enqueue(i)
			}
		})
	}
	pace := time.NewTicker(max(c.faultsFor/time.Duration(c.tasks), time.Microsecond)) // there is work all the time
	defer pace.Stop()
	for i := dropped; i < c.tasks; i++ {
		<-pace.C
		next <- i
	}
	close(next)
	wg.Wait()
}

func (c *chaos) enqueue(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := c.w.c.Enqueue(ctx, client.Work{Task: c.request(i)})
	c.mu.Lock()
	c.accepted[i] = err == nil
	c.mu.Unlock()
	if err != nil {
		c.note("not accepted")
	}
}

func (c *chaos) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.happened[what]++
}

// faults kills and freezes one process at a time, until its time is over.
func (c *chaos) faults(r *rand.Rand) {
	began, leaderless := time.Now(), false
	for time.Since(began) < c.faultsFor {
		time.Sleep(time.Duration(100+r.IntN(400)) * time.Millisecond) // faults come at random
		if !leaderless && time.Since(began) > c.faultsFor/2 {
			leaderless = true
			c.killMajority(r)
			continue
		}
		m, what := c.runners[r.IntN(len(c.runners))], "runner"
		if r.IntN(4) == 0 {
			m, what = c.servers[r.IntN(len(c.servers))], "server"
		}
		if r.IntN(3) > 0 {
			c.note("killed " + what)
			m.process.Kill()
			m.process = start(c.t, m.child)
			m.ready(c.t)
			continue
		}
		c.note("froze " + what)
		_ = m.process.Cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(500+r.IntN(3500)) * time.Millisecond) // some for longer than they may be away
		_ = m.process.Cmd.Process.Signal(syscall.SIGCONT)
	}
}

// killMajority leaves one server for a few seconds: no stream has a leader then.
func (c *chaos) killMajority(r *rand.Rand) {
	c.note("killed two servers")
	for _, m := range c.servers[:2] {
		m.process.Kill()
	}
	time.Sleep(time.Duration(2000+r.IntN(2000)) * time.Millisecond)
	for _, m := range c.servers[:2] {
		m.process = start(c.t, m.child)
	}
	for _, m := range c.servers[:2] {
		m.ready(c.t)
	}
}

// check compares the records with what the tasks say and with what is allowed.
func (c *chaos) check() {
	done := 0
	for i := range c.tasks {
		attempts, err := c.attempts(fmt.Sprint("c", i))
		if errors.Is(err, store.ErrUnknownRun) && !c.accepted[i] {
			continue
		}
		if err != nil {
			c.t.Errorf("work c%d was accepted, and has no outcome: %v", i, err)
			continue
		}
		done++
		complete := 0
		for n, run := range attempts {
			if !store.Final(run.GetState()) {
				c.t.Errorf("attempt %s has not ended: %s", run.GetId(), run.GetState())
			}
			if run.GetState() == pb.State_COMPLETE {
				complete++
			}
			again := run.GetReason() == pb.ReasonLost || run.GetReason() == pb.ReasonExit && run.GetExitCode() != 0
			follows := n+1 < len(attempts)
			if wantNext := again && n+1 < maxAttempts; wantNext != (run.GetNext() != "") || wantNext != follows {
				c.t.Errorf("attempt %s ended %s %s %d, names %q as its next, and is followed: %v", run.GetId(), run.GetState(), run.GetReason(), run.GetExitCode(), run.GetNext(), follows)
			}
			c.happened[run.GetState().String()+" "+run.GetReason()]++
		}
		if len(attempts) > maxAttempts {
			c.t.Errorf("work c%d has %d attempts, more than %d", i, len(attempts), maxAttempts)
		}
		starts, _ := os.ReadFile(filepath.Join(c.dir, strconv.Itoa(i)))
		if len(starts) > len(attempts) || len(starts) < complete {
			c.t.Errorf("work c%d has %d attempts, %d of them complete, and was started %d times", i, len(attempts), complete, len(starts))
		}
	}
	if done == 0 {
		c.t.Error("nothing was done")
	}
}

func (c *chaos) attempts(id string) (all []*pb.Run, err error) {
	rig.Eventually(c.t, "the records can be read", func() bool {
		all, err = c.w.c.Attempts(c.t.Context(), id)
		return err == nil || errors.Is(err, store.ErrUnknownRun)
	})
	return all, err
}
