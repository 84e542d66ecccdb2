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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/policy"
)

const tooLong = 10 * time.Second

// children are parts of tests that need another account or another network.
var children = map[string]func() int{"net": childInNetwork, "nobody": childAsNobody}

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
		"memory total": {s.Stats.Memory.Total, fmt.Sprintf("^%d GB$", all.Memory>>30)}, "memory used": {s.Stats.Memory.Used, `^[1-9]\d* [GM]B$`},
		"storage total": {s.Stats.Storage.Total, fmt.Sprintf("^%d GB$", all.Storage>>30)}, "storage used": {s.Stats.Storage.Used, `^\d+ [GM]B$`},
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
		for spinning := true; spinning; {
			select {
			case <-stop:
				spinning = false
			default: // that is the point: a CPU is kept busy
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
	g := glance.New(glance.Config{Files: files.New(files.Config{})})
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

func childInNetwork() int {
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
