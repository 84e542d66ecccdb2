package facts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOSRelease(t *testing.T) {
	for text, want := range map[string]string{
		"NAME=\"Ubuntu\"\nVERSION_ID=\"20.04\"\nPRETTY_NAME=x\n":     "Ubuntu 20.04",
		"# NAME=x\nNAME='Debian GNU/Linux'\nVERSION_ID=12":           "Debian GNU/Linux 12",
		"NAME=\"Arch Linux\"\nPRETTY_NAME=\"Arch Linux\"\nID=arch\n": "Arch Linux",
		"NAME=\"a \\\"b\\\" \\$c \\d\"\nVERSION_ID=1":                `a "b" $c \d 1`,
		"NAME=Alpine": "Alpine",
		"":            "Linux",
		"NAME=\"":     `"`,
	} {
		if got := parseOSRelease(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzOSRelease(f *testing.F) {
	f.Add("NAME=\"Ubuntu\"\nVERSION_ID=\"20.04\"\n")
	f.Add("NAME=\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		if parseOSRelease(s) == "" {
			t.Error("no name at all")
		}
	})
}

const routeHead = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestRoutes(t *testing.T) {
	for table, want := range map[string]string{
		"":        "",
		routeHead: "",
		routeHead + "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\nwlan0\t00000000\t010200C0\t0003\t0\t0\t50\t00000000\t0\t0\t0\n": "wlan0",
		routeHead + "eth0\t00000000\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n":                                                                 "",
		routeHead + "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n":                                                                    "",
		routeHead + "eth0\t00000000\t00000000\t0002\t0\t0\t0\t00000000\t0\t0\t0\n":                                                                 "",
	} {
		if got := defaultRoute4(table); got != want {
			t.Errorf("%q: got %q, want %q", table, got, want)
		}
	}
	zero := strings.Repeat("0", 32)
	for table, want := range map[string]string{
		zero + " 00 " + zero + " 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n": "eth0",
		zero + " 00 " + zero + " 00 " + zero + " ffffffff 00000001 00000000 00200200       lo\n":                     "",
		zero + " 40 " + zero + " 00 " + zero + " 00000100 00000001 00000000 00000001     eth0\n":                     "",
		"x": "",
	} {
		if got := defaultRoute6(table); got != want {
			t.Errorf("%q: got %q, want %q", table, got, want)
		}
	}
}

func FuzzRoutes(f *testing.F) {
	f.Add(routeHead + "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n")
	f.Fuzz(func(t *testing.T, s string) {
		if n := defaultRoute4(s) + defaultRoute6(s); strings.ContainsAny(n, " \t\n") {
			t.Errorf("got %q", n)
		}
	})
}

func TestMeminfoAndStat(t *testing.T) {
	total, used, err := parseMeminfo("MemTotal:       1000 kB\nMemFree: 10 kB\nMemAvailable:    400 kB\nCached: 390 kB\n")
	if total != 1000<<10 || used != 600<<10 || err != nil {
		t.Errorf("got %d, %d, %v", total, used, err)
	}
	_, used, _ = parseMeminfo("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 250 kB\n")
	if used != 600<<10 {
		t.Errorf("an old kernel: got %d", used)
	}
	if _, _, err := parseMeminfo("nonsense"); err == nil {
		t.Error("no error")
	}
	busy, sum, cpus := parseStat("cpu  10 20 30 400 5 1 2 3 7 8\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5 cpu\n")
	if busy != 66 || sum != 471 || cpus != 2 {
		t.Errorf("got %v of %v, %d cpus", busy, sum, cpus)
	}
}

func FuzzCgroups(f *testing.F) {
	f.Add("0::/a/b\n4:memory:/x\n", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n31 23 0:27 /x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
	f.Fuzz(func(t *testing.T, member, mounts string) {
		c := findCgroups(member, mounts)
		for _, dir := range append(c.v2, c.v1["memory"]...) {
			if strings.Contains(dir, "/../") {
				t.Errorf("%q leads out", dir)
			}
		}
	})
}

// tree makes files, by their names below a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCgroupsV2(t *testing.T) {
	dir := tree(t, map[string]string{
		"a/memory.max": "1000000\n", "a/memory.current": "700000\n", "a/memory.stat": "anon 5\ninactive_file 200000\nactive_file 7\n",
		"a/cpu.max": "150000 100000\n", "a/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
		"a/b/memory.max": "max\n", "a/b/cpu.max": "max 100000\n", "a/b/memory.current": "1\n",
	})
	c := findCgroups("1:name=systemd:/x\n0::/a/b\n", "30 23 0:26 / "+dir+" rw shared:4 - cgroup2 cgroup rw\n")
	if d := cmp.Diff([]string{dir + "/a/b", dir + "/a", dir}, c.v2); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
	if limit, used, ok := c.memory(); limit != 1000000 || used != 500000 || !ok {
		t.Errorf("memory: got %d of %d, %v", used, limit, ok)
	}
	if milli, used, ok := c.cpu(); milli != 1500 || used != 2500*time.Millisecond || !ok {
		t.Errorf("cpu: got %d, %s, %v", milli, used, ok)
	}
	// In a container the mount begins at the container's own cgroup.
	for _, member := range []string{"0::/\n", "0::/../../elsewhere\n", "0::/elsewhere\n"} {
		c = findCgroups(member, "30 23 0:26 /docker/1 "+dir+"/a rw - cgroup2 cgroup rw\n")
		if limit, _, ok := c.memory(); limit != 1000000 || !ok {
			t.Errorf("%q: got %d, %v, %q", member, limit, ok, c.v2)
		}
	}
}

func TestCgroupsV1(t *testing.T) {
	dir := tree(t, map[string]string{
		"memory/c/memory.limit_in_bytes": "5000\n", "memory/c/memory.usage_in_bytes": "3000\n", "memory/c/memory.stat": "cache 1\ntotal_inactive_file 1000\n",
		"memory/memory.limit_in_bytes": "9223372036854771712\n",
		"cpu/c/cpu.cfs_quota_us":       "50000\n", "cpu/c/cpu.cfs_period_us": "100000\n", "cpu/c/cpuacct.usage": "1500000000\n",
		"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
	})
	c := findCgroups("5:memory:/c\n4:cpu,cpuacct:/c\n", "30 23 0:26 / "+dir+"/memory rw - cgroup cgroup rw,memory\n31 23 0:27 / "+dir+"/cpu rw - cgroup cgroup rw,cpu,cpuacct\n")
	if limit, used, ok := c.memory(); limit != 5000 || used != 2000 || !ok {
		t.Errorf("memory: got %d of %d, %v", used, limit, ok)
	}
	if milli, used, ok := c.cpu(); milli != 500 || used != 1500*time.Millisecond || !ok {
		t.Errorf("cpu: got %d, %s, %v", milli, used, ok)
	}
	if _, _, ok := findCgroups("", "").memory(); ok {
		t.Error("a limit out of nothing")
	}
}

func TestBusyBetween(t *testing.T) {
	start := time.Now()
	for _, row := range []struct {
		from, to cpuSample
		want     int64
	}{
		{cpuSample{busy: 10, total: 100}, cpuSample{busy: 60, total: 200, milliCPU: 4000}, 2000},
		{cpuSample{busy: 10, total: 100}, cpuSample{busy: 10, total: 100, milliCPU: 4000}, 0},
		{cpuSample{busy: 10, total: 100}, cpuSample{busy: 5, total: 110, milliCPU: 4000}, 0}, // iowait can go back
		{cpuSample{at: start, isCgroup: true, cgroupBusy: time.Second}, cpuSample{at: start.Add(2 * time.Second), isCgroup: true, cgroupBusy: 2 * time.Second, milliCPU: 1500}, 500},
		{cpuSample{at: start, isCgroup: true}, cpuSample{at: start.Add(time.Second), isCgroup: true, cgroupBusy: 9 * time.Second, milliCPU: 1500}, 1500},
		{cpuSample{at: start, isCgroup: true}, cpuSample{at: start, isCgroup: true, milliCPU: 1500}, 0},
	} {
		if got := busyBetween(row.from, row.to); got != row.want {
			t.Errorf("%+v, %+v: got %d, want %d", row.from, row.to, got, row.want)
		}
	}
}
