package glance_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/policy"
)

const tooLong = 10 * time.Second

func sysOf(t testing.TB, g *glance.Glancer, q *pb.SysQuery) *pb.SysReply {
	t.Helper()
	q.Enable = true
	return look(t, g, &pb.Glance{Sys: q}).Sys
}

func TestSystem(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	s := sysOf(t, g, &pb.SysQuery{Processes: ptr(false)})
	if s.Error != "" || s.Stats.Processes != nil || s.Stats.ProcessCount != 0 {
		t.Errorf("got error %q, %d processes", s.Error, len(s.Stats.Processes))
	}
	all, used := s.Resource.Allocatable, s.Resource.Requested
	if all.MilliCpu <= 0 || all.MilliCpu > int64(runtime.NumCPU())*1000 || used.MilliCpu < 0 || used.MilliCpu > all.MilliCpu {
		t.Errorf("cpu: %d of %d", used.MilliCpu, all.MilliCpu)
	}
	if all.Memory < 1<<20 || used.Memory <= 0 || used.Memory > all.Memory {
		t.Errorf("memory: %d of %d", used.Memory, all.Memory)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs("/", &st); err != nil {
		t.Fatal(err)
	}
	if all.Storage != int64(st.Blocks)*st.Bsize || used.Storage <= 0 || used.Storage > all.Storage {
		t.Errorf("storage: %d of %d", used.Storage, all.Storage)
	}
	for what, row := range map[string][2]string{
		"cpu total": {s.Stats.Cpu.Total, `^\d+(\.\d)? CPU$`}, "cpu used": {s.Stats.Cpu.Used, `^\d{1,3}%$`},
		"memory total": {s.Stats.Memory.Total, fmt.Sprintf("^%d GB$", all.Memory>>30)}, "memory used": {s.Stats.Memory.Used, fmt.Sprintf("^%d GB$", used.Memory>>30)},
		"storage total": {s.Stats.Storage.Total, fmt.Sprintf("^%d GB$", all.Storage>>30)}, "storage used": {s.Stats.Storage.Used, `^\d+ GB$`},
		"os": {s.Stats.Os, `^\S.*\S$`},
	} {
		if !regexp.MustCompile(row[1]).MatchString(row[0]) {
			t.Errorf("%s: got %q, want it like %s", what, row[0], row[1])
		}
	}
	if s.Stats.Uptime <= 0 || s.Stats.Load < 0 {
		t.Errorf("uptime %d, load %v", s.Stats.Uptime, s.Stats.Load)
	}
	if want := routedAddress(t); s.Stats.Host != want {
		t.Errorf("host: got %q, want %q", s.Stats.Host, want)
	}
}

// routedAddress asks the kernel what it would send from; "" without a route.
func routedAddress(t *testing.T) string {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP.String()
}

func TestBusyIsOfTheLastSecond(t *testing.T) {
	g := newGlancer(t, policy.Policy{})
	// Whatever else runs: while a CPU is kept busy, about a CPU's part is.
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	defer func() { close(stop); <-done }()
	deadline := time.Now().Add(tooLong)
	for {
		s := sysOf(t, g, &pb.SysQuery{Processes: ptr(false)})
		if s.Resource.Requested.MilliCpu >= 800 && s.Stats.Cpu.Used != "0%" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a busy loop is not seen: %v, %v", s.Resource.Requested, s.Stats.Cpu)
		}
		time.Sleep(100 * time.Millisecond) // between two looks, not for anything to happen
	}
}

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
	for _, th := range me.Threads {
		if th.Pid == int64(os.Getpid()) || th.Pid == 0 || th.Name == "" || th.Memory == 0 {
			t.Errorf("thread: got %v", th)
		}
	}
	if s := find(t, all, child.Process.Pid); s.Process.Name != "sleep" || s.Process.Cmdline != "sleep 100 1" || len(s.Threads) != 0 {
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

func inChild(t *testing.T, name string, attr *syscall.SysProcAttr, env ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: another account or a network namespace of its own")
	}
	// The test binary is in a folder that others can't enter.
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "glance-child")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/test", self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir + "/test")
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), childEnv+"="+name), env...)
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func childGlancer() (*glance.Glancer, func(q *pb.Glance) *pb.GlanceReply) {
	files := (&policy.Policy{}).Open()
	g := glance.New(glance.Config{OpenDir: files.OpenDir, OpenFile: files.OpenFile})
	return g, func(q *pb.Glance) *pb.GlanceReply {
		reply, _ := g.Glance(context.Background(), q)
		return reply
	}
}

func TestNetworkNamespaces(t *testing.T) {
	isolated := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	t.Run("no route", func(t *testing.T) { inChild(t, "net", isolated, "SETUP=", "WANT=") })
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip command")
	}
	const pair = "ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up && "
	for name, row := range map[string][2]string{
		"IPv4":                    {"ip addr add 10.9.8.7/24 dev d0 && ip addr add 10.9.8.9/24 dev d0 && ip route add default via 10.9.8.1", "10.9.8.7"},
		"an address but no route": {"ip addr add 10.9.8.7/24 dev d0", ""},
		"lowest metric":           {"ip addr add 10.1.0.1/24 dev d0 && ip addr add 10.2.0.1/24 dev d1 && ip route add default via 10.1.0.9 metric 200 && ip route add default via 10.2.0.9 metric 100", "10.2.0.1"},
		"unreachable":             {"ip addr add 10.1.0.1/24 dev d0 && ip route add unreachable default", ""},
		"IPv6 only":               {"ip -6 addr add fd00:9::7/64 dev d0 nodad && ip -6 route add default via fd00:9::1", "fd00:9::7"},
	} {
		t.Run(name, func(t *testing.T) { inChild(t, "net", isolated, "SETUP="+pair+row[0], "WANT="+row[1]) })
	}
}

func init() {
	children["net"] = func() int {
		if setup := os.Getenv("SETUP"); setup != "" {
			if out, err := exec.Command("sh", "-c", setup).CombinedOutput(); err != nil {
				fmt.Printf("cannot set up: %v %s\n", err, out)
				return 1
			}
		}
		g, ask := childGlancer()
		defer g.Close()
		reply := ask(&pb.Glance{Sys: &pb.SysQuery{Enable: true}})
		if got := reply.Sys.GetStats().GetHost(); got != os.Getenv("WANT") || reply.Sys.Error != "" {
			fmt.Printf("host: got %q, want %q; error %q\n", got, os.Getenv("WANT"), reply.Sys.Error)
			return 1
		}
		return 0
	}
	children["nobody"] = childAsNobody
}

func TestAsOrdinaryUser(t *testing.T) {
	dir, err := os.MkdirTemp("", "glance-nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, dir+"/open/f", []byte("text\n"))
	write(t, dir+"/closed/f", nil)
	write(t, dir+"/unsearchable/f", nil)
	write(t, dir+"/secret", nil)
	for name, mode := range map[string]os.FileMode{"": 0o755, "closed": 0o700, "unsearchable": 0o744, "secret": 0o600} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	inChild(t, "nobody", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, "DIR="+dir)
}

func childAsNobody() int {
	code := 0
	check := func(ok bool, format string, args ...any) {
		if !ok {
			fmt.Printf(format+"\n", args...)
			code = 1
		}
	}
	dir := os.Getenv("DIR")
	g, ask := childGlancer()
	defer g.Close()
	list := func(name string) *pb.DirReply { return ask(&pb.Glance{Dir: &pb.DirQuery{Path: dir + "/" + name}}).Dir }
	check(os.Geteuid() == 65534, "not nobody")
	check(len(list("open").Entries) == 3, "open: %v", list("open"))
	check(strings.Contains(list("closed").Error, "permission denied"), "closed: %v", list("closed"))
	u := list("unsearchable")
	check(u.Error == "" && len(u.Entries) == 3 && u.Entries[2].Name == "f" && u.Entries[2].Mode == "?---------", "unsearchable: %v", u)
	f := ask(&pb.Glance{File: &pb.FileQuery{Path: dir + "/open/f", MaxSize: 9}}).File
	check(f.Readable && f.Error == "" && f.Size == 5, "open/f: %v", f)
	f = ask(&pb.Glance{File: &pb.FileQuery{Path: dir + "/secret", MaxSize: 9}}).File
	check(!f.Readable && strings.Contains(f.Error, "permission denied"), "secret: %v", f)
	for _, path := range []string{"/etc/shadow", "/proc/1/environ", "/proc/self/environ"} {
		_, err := g.Glance(context.Background(), &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: 1 << 16}})
		e, ok := err.(*glance.Error)
		check(ok && e.Code == 403, "%s: %v", path, err)
	}
	s := ask(&pb.Glance{Sys: &pb.SysQuery{Enable: true}}).Sys
	check(s.Error == "" && s.Stats.ProcessCount > 1 && len(s.Stats.Processes) > 1 && s.Resource.Allocatable.Memory > 0, "sys: %v", s)
	return code
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
