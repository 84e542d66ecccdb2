package glance_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/policy"
)

func TestProcessesWithThreads(t *testing.T) {
	child := exec.Command("sleep", "100", "1")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	g := newGlancer(t, policy.Policy{})
	all := processes(t, g, &pb.SysQuery{})
	me := find(t, all, os.Getpid())
	if me.Process.Memory < 1<<20 || me.Process.Name == "" || !strings.Contains(me.Process.Cmdline, "test") {
		t.Errorf("this process: got %v", me.Process)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if len(me.Threads) == 0 || len(me.Threads) > len(tasks) {
		t.Errorf("got %d threads, /proc has %d", len(me.Threads), len(tasks))
	}
	if !slices.ContainsFunc(me.Threads, func(th *pb.Thread) bool { return th.Pid == int64(os.Getpid()) }) {
		t.Errorf("the main thread is not among %v", me.Threads)
	}
	for _, th := range me.Threads {
		if th.Pid == 0 || th.Name == "" || th.Memory == 0 {
			t.Errorf("thread: got %v", th)
		}
	}
	if s := find(t, all, child.Process.Pid); s.Process.Name != "sleep" || s.Process.Cmdline != "sleep 100 1" || len(s.Threads) != 1 || s.Threads[0].Pid != s.Process.Pid {
		t.Errorf("got %v", s)
	}
	hidden := processes(t, newGlancer(t, policy.Policy{HideCommandLines: true}), &pb.SysQuery{})
	for _, p := range hidden {
		if p.Process.Cmdline != "" {
			t.Fatalf("a command line: %v", p)
		}
	}
}

// processes follows next to the end.
func processes(t testing.TB, g *glance.Glancer, q *pb.SysQuery) (all []*pb.Process) {
	t.Helper()
	for range 100000 {
		s := sysOf(t, g, q)
		all = append(all, s.Stats.Processes...)
		if q.Next = s.Next; q.Next == "" {
			return all
		}
	}
	t.Fatal("no end of pages")
	return nil
}

func find(t *testing.T, all []*pb.Process, pid int) *pb.Process {
	t.Helper()
	i := slices.IndexFunc(all, func(p *pb.Process) bool { return p.Process.Pid == int64(pid) })
	if i < 0 {
		t.Fatalf("process %d is not among %d", pid, len(all))
	}
	return all[i]
}

// fakeProc makes a /proc of count processes with long command lines, in which
// process i has i ticks of CPU and count-i pages.
func fakeProc(t testing.TB, count, threads int) string {
	dir := t.TempDir()
	for i := 1; i <= count; i++ {
		stat := func(pid int) []byte {
			return fmt.Appendf(nil, "%d (odd) (n %d) S 1 1 1 0 -1 4194560 0 0 0 0 %d 0 0 0 20 0 %d 0 5 1000 %d 18446744073709551615 0\n", pid, pid, i, threads, count-i)
		}
		p := fmt.Sprintf("%s/%d", dir, i)
		write(t, p+"/stat", stat(i))
		write(t, p+"/cmdline", []byte(strings.Repeat("argument\x00", 60)))
		for th := range threads {
			if threads > 1 {
				write(t, fmt.Sprintf("%s/task/%d/stat", p, i+th*count), stat(i+th*count))
			}
		}
	}
	return dir
}

func TestFiveThousandProcesses(t *testing.T) {
	const count = 5000
	g := newGlancer(t, policy.Policy{})
	glance.SetProc(g, fakeProc(t, count, 1))
	pid := func(p *pb.Process) int64 { return p.Process.Pid }
	for sort, want := range map[string]func(i int) int64{
		"": func(i int) int64 { return int64(i + 1) }, "pid": func(i int) int64 { return int64(i + 1) },
		"cpu": func(i int) int64 { return int64(count - i) }, "memory": func(i int) int64 { return int64(i + 1) },
	} {
		all := processes(t, g, &pb.SysQuery{Sort: sort})
		if len(all) != count {
			t.Fatalf("%q: got %d", sort, len(all))
		}
		for i, p := range all {
			if pid(p) != want(i) {
				t.Fatalf("%q: place %d is %d, want %d", sort, i, pid(p), want(i))
			}
		}
		for _, top := range []int64{1, 10, 4000} {
			all := processes(t, g, &pb.SysQuery{Sort: sort, Top: top})
			if int64(len(all)) != top || pid(all[top-1]) != want(int(top-1)) {
				t.Errorf("%q, top %d: got %d", sort, top, len(all))
			}
		}
	}
	s := sysOf(t, g, &pb.SysQuery{Top: 3})
	if s.Stats.ProcessCount != count || s.Next != "" || len(s.Stats.Processes) != 3 {
		t.Errorf("got %d of %d, next %q", len(s.Stats.Processes), s.Stats.ProcessCount, s.Next)
	}
	if p := s.Stats.Processes[0].Process; p.Name != "odd) (n 1" || p.Time != 0.01 || p.Memory != 4999*int64(os.Getpagesize()) {
		t.Errorf("got %v", p)
	}
	first := sysOf(t, g, &pb.SysQuery{Sort: "cpu"})
	wantError(t, g, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Sort: "memory", Next: first.Next}}, 400, "invalid next")
	if n := len(first.Stats.Processes); n < 1000 {
		t.Errorf("only %d processes a page", n)
	}
}

func TestProcessThatDoesNotFit(t *testing.T) {
	g := newGlancer(t, policy.Policy{}, func(c *glance.Config) { c.MaxReplyBytes = 64 << 10 })
	glance.SetProc(g, fakeProc(t, 3, 2000))
	q := &pb.SysQuery{Enable: true}
	for pid := int64(1); pid <= 3; pid++ {
		reply, err := g.Glance(context.Background(), &pb.Glance{Sys: q})
		if err != nil {
			t.Fatal(err)
		}
		checkFits(t, reply, 64<<10)
		p := reply.Sys.Stats.Processes
		if len(p) != 1 || p[0].Process.Pid != pid || len(p[0].Threads) < 100 || !strings.Contains(reply.Sys.Error, "do not fit") {
			t.Fatalf("process %d: got %d processes, error %q", pid, len(p), reply.Sys.Error)
		}
		if q.Next = reply.Sys.Next; (q.Next == "") != (pid == 3) {
			t.Fatalf("process %d: next %q", pid, q.Next)
		}
	}
}

func TestProcessesComeAndGo(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
				_ = exec.Command("true").Run()
			}
		}
	}()
	for range 100 {
		for _, p := range processes(t, g, &pb.SysQuery{}) {
			if p.Process.Pid == 0 || p.Process.Name == "" {
				t.Fatalf("half a process: %v", p)
			}
		}
	}
	close(done)
	<-stopped
}

// walk is what the list can't do without: read stat and command line of each
// process, and stat of each thread.
func walk(t testing.TB) (count int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		p := "/proc/" + e.Name()
		if _, err := os.ReadFile(p + "/stat"); err != nil {
			continue
		}
		_, _ = os.ReadFile(p + "/cmdline")
		count++
		tasks, err := os.ReadDir(p + "/task")
		if err != nil || len(tasks) < 2 {
			continue
		}
		for _, task := range tasks {
			if task.Name() != e.Name() {
				_, _ = os.ReadFile(p + "/task/" + task.Name() + "/stat")
			}
		}
	}
	return count
}

func TestSystemCostsNoMoreThanTwiceTheFloor(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	sleepers(t, 300)
	g := newGlancer(t, policy.Policy{}, func(c *glance.Config) { c.MaxReplyBytes = 64 << 20 })
	ours := func() {
		if reply, err := g.Glance(context.Background(), &pb.Glance{Sys: &pb.SysQuery{Enable: true}}); err != nil || reply.Sys.Next != "" {
			t.Fatal(err)
		}
	}
	if r := ratio(t, "the system with processes", func() { walk(t) }, ours); r > 2 {
		t.Errorf("it costs %.2f times a plain walk of /proc, want 2 at most", r)
	}
}

func sleepers(t testing.TB, count int) {
	t.Helper()
	sh := exec.Command("sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done; echo; wait", count))
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := sh.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-sh.Process.Pid, syscall.SIGKILL); _ = sh.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSystem(b *testing.B) {
	sleepers(b, 5000)
	g := newGlancer(b, policy.Policy{})
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			walk(b)
		}
	})
	b.Run("all pages", func(b *testing.B) {
		for b.Loop() {
			if n := len(processes(b, g, &pb.SysQuery{})); n < 5000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("top 20 by cpu", func(b *testing.B) {
		for b.Loop() {
			sysOf(b, g, &pb.SysQuery{Top: 20, Sort: "cpu"})
		}
	})
	b.Run("without processes", func(b *testing.B) {
		for b.Loop() {
			sysOf(b, g, &pb.SysQuery{Processes: ptr(false)})
		}
	})
}
