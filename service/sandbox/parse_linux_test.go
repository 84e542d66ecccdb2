package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
)

// A name in a process's stat may be anything, parentheses and line ends too.
func TestProcessesAreRead(t *testing.T) {
	stat := func(pid, name, rest string) string { return pid + " (" + name + ") " + rest }
	const rest = "S 10 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1000000 250 18446744073709551615"
	want := proc{pid: 7, ppid: 10, pgrp: 20, session: 30, state: 'S', startTicks: 9876, hasMemory: true}
	for name, text := range map[string]string{
		"plain": stat("7", "sleep", rest), "empty": stat("7", "", rest), "with parentheses": stat("7", "a) S 1 1 (b", rest),
		"with a line end": stat("7", "a\nb", rest), "with an end": stat("7", "sleep", rest+"\n"),
	} {
		if got, ok := parseProc([]byte(text)); !ok || got != want {
			t.Errorf("%s: got %+v, %t", name, got, ok)
		}
	}
	kernel := strings.Replace(rest, "1000000 250", "0 0", 1)
	if got, ok := parseProc([]byte(stat("2", "kthreadd", kernel))); !ok || got.hasMemory {
		t.Errorf("a thread of the kernel: got %+v, %t", got, ok)
	}
	for name, text := range map[string]string{
		"nothing": "", "no name": "7 S 1", "cut in the name": "7 (sle", "cut after the name": "7 (sleep)", "few fields": "7 (sleep) S 1 2 3",
		"a number that is none": stat("7", "sleep", strings.Replace(rest, "10 20", "x 20", 1)), "a pid that is none": stat("x", "sleep", rest),
		"a long state": stat("7", "sleep", "S"+rest), "turned round": ") 7 (" + rest,
	} {
		if got, ok := parseProc([]byte(text)); ok {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func FuzzParseProc(f *testing.F) {
	f.Add([]byte("7 (sleep) S 10 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1000000 250"))
	f.Add([]byte("7 (a) b) R"))
	f.Add([]byte("()"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if p, ok := parseProc(stat); ok && p.state == 0 {
			t.Errorf("%q: got %+v", stat, p)
		}
	})
}

// This process is what the kernel says it is.
func TestThisProcessIsRead(t *testing.T) {
	got, ok := readProc(os.Getpid())
	if !ok || got.pid != os.Getpid() || got.ppid != os.Getppid() || !got.hasMemory || got.dead() {
		t.Errorf("got %+v, %t", got, ok)
	}
	if now := ticksSinceBoot(); got.startTicks > now {
		t.Errorf("it began at %d, and it is %d", got.startTicks, now)
	}
	if _, ok := readProc(1 << 30); ok {
		t.Error("there is a process of a number that is none")
	}
}

func TestStatesOfProcesses(t *testing.T) {
	for state, want := range map[byte][2]bool{'R': {false, true}, 'S': {false, true}, 'D': {false, false}, 'T': {false, false}, 'Z': {true, false}, 'X': {true, false}, 'I': {false, false}} {
		p := proc{state: state}
		if got := [2]bool{p.dead(), p.canFork()}; got != want {
			t.Errorf("%c: dead, forks: got %v, want %v", state, got, want)
		}
	}
}

func TestKilobytesAreAdded(t *testing.T) {
	const status = "Name:\tsleep\nVmPeak:\t  10 kB\nRssAnon:\t     100 kB\nRssFile:\t 7 kB\nRssShmem:\t      20 kB\nVmSwap:\t       3 kB\nThreads:\t1\n"
	for _, c := range []struct {
		names []string
		want  int64
	}{
		{[]string{"RssAnon"}, 100 << 10}, {[]string{"RssAnon", "RssShmem", "VmSwap"}, 123 << 10}, {[]string{"Rss"}, 0}, {nil, 0}, {[]string{"Name"}, 0},
	} {
		if got := sumKB(status, c.names); got != c.want {
			t.Errorf("%q: got %d, want %d", c.names, got, c.want)
		}
	}
	if got := sumKB("", []string{"Pss"}); got != 0 {
		t.Errorf("of nothing: got %d", got)
	}
}

func TestFilesOfMappings(t *testing.T) {
	for text, want := range map[string]fileID{
		"08:10 77": {unix.Mkdev(8, 16), 77}, "00:01 5": {unix.Mkdev(0, 1), 5}, "fd:00 18446744073709551615": {unix.Mkdev(0xfd, 0), 1<<64 - 1},
	} {
		device, inode, _ := strings.Cut(text, " ")
		if got, ok := mappedFile(device, inode); !ok || got != want {
			t.Errorf("%s: got %+v, %t, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"00:00 0", "08 7", "08:zz 7", "xx:10 7", "08:10 -1", "08:10 x", " "} {
		device, inode, _ := strings.Cut(text, " ")
		if got, ok := mappedFile(device, inode); ok {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// cgroupOf is a directory with files as a cgroup has them.
func cgroupOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUsageOfACgroup(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  usage
	}{
		"none":               {nil, usage{}},
		"processor time":     {map[string]string{"cpu.stat": "usage_usec 30\nuser_usec 1500000\nsystem_usec 250\nnr_periods 0\n"}, usage{known: true, user: 1500 * time.Millisecond, system: 250 * time.Microsecond}},
		"memory":             {map[string]string{"cpu.stat": "user_usec 0\n", "memory.peak": "1048576\n"}, usage{known: true, peakBytes: 1 << 20}},
		"no peak":            {map[string]string{"cpu.stat": "user_usec 0\n", "memory.peak": "max\n"}, usage{known: true}},
		"well":               {map[string]string{"cpu.stat": "user_usec 0\n", "memory.events": "low 0\nhigh 3\nmax 5\noom 2\noom_kill 0\noom_group_kill 0\n"}, usage{known: true}},
		"killed":             {map[string]string{"cpu.stat": "user_usec 0\n", "memory.events": "oom_kill 1\n"}, usage{known: true, oom: true}},
		"killed as a group":  {map[string]string{"cpu.stat": "user_usec 0\n", "memory.events": "oom_kill 0\noom_group_kill 1\n"}, usage{known: true, oom: true}},
		"a line that is odd": {map[string]string{"cpu.stat": "user_usec\nuser_usec many\n\nsystem_usec 5\n"}, usage{system: 5 * time.Microsecond}},
	} {
		if got := readUsage(cgroupOf(t, c.files)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// What is not known leaves what is.
func TestUsageInAStatus(t *testing.T) {
	s := Status{CPUUser: 1, CPUSystem: 2, PeakMemoryBytes: 3}
	usage{user: 9, peakBytes: 9, oom: true}.into(&s)
	if s.CPUUser != 1 || s.OOM || s.PeakMemoryBytes != 3 {
		t.Errorf("unknown: got %+v", s)
	}
	usage{known: true, user: 9, system: 8, oom: true}.into(&s)
	if s.CPUUser != 9 || s.CPUSystem != 8 || !s.OOM || s.PeakMemoryBytes != 3 {
		t.Errorf("without a peak: got %+v", s)
	}
	usage{known: true, peakBytes: 7}.into(&s)
	if s.PeakMemoryBytes != 7 || s.OOM {
		t.Errorf("with a peak: got %+v", s)
	}
}

func TestLimitsOfACgroup(t *testing.T) {
	set, err := limits.Text{limits.MemoryMax: "64M", limits.PidsMax: "9", limits.CPUMax: "50000 100000", limits.CPUWeight: "50"}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	blank := map[string]string{"memory.max": "", "memory.oom.group": "", "memory.swap.max": "", "pids.max": "", "cpu.max": "", "cpu.weight": ""}
	dir := cgroupOf(t, blank)
	if err := setLimits(dir, set); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "67108864", "memory.oom.group": "1", "memory.swap.max": "0", "pids.max": "9", "cpu.max": "50000 100000", "cpu.weight": "50"} {
		if got := readText(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	// A kernel without swap has no bound for it; without another file a limit can't hold.
	if err := os.Remove(filepath.Join(dir, "memory.swap.max")); err != nil {
		t.Fatal(err)
	}
	if err := setLimits(dir, set); err != nil {
		t.Errorf("without swap: got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "pids.max")); err != nil {
		t.Fatal(err)
	}
	if err := setLimits(dir, set); !errors.Is(err, fs.ErrNotExist) || err.Error() != `set pids.max to "9": no such file or directory` {
		t.Errorf("without a controller: got %v", err)
	}
}

func TestProcessesOfACgroup(t *testing.T) {
	if got := directProcs(cgroupOf(t, map[string]string{"cgroup.procs": "1\n22\nx\n333\n"})); !slices.Equal(got, []int{1, 22, 333}) {
		t.Errorf("got %v", got)
	}
	if got := directProcs(t.TempDir()); got != nil {
		t.Errorf("of none: got %v", got)
	}
	if isRootCgroup(cgroupOf(t, map[string]string{"cgroup.type": "domain\n"})) || !isRootCgroup(t.TempDir()) {
		t.Error("the root is the one without a type")
	}
	if canMake(filepath.Join(t.TempDir(), "nosuch")) {
		t.Error("a cgroup can be made where there is none")
	}
}

// What a runner is given, it turns on; what it can't have, it says.
func TestControllersAreDelegated(t *testing.T) {
	own := cgroupOf(t, map[string]string{"cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma\n", "cgroup.subtree_control": "", "cgroup.procs": ""})
	if root, _, why := delegate(own, true); root != own || why != "" {
		t.Errorf("got %s, %q", root, why)
	}
	if got := readText(filepath.Join(own, "cgroup.subtree_control")); !strings.Contains(got, "pids") || strings.Contains(got, "rdma") {
		t.Errorf("turned on is %q last, want what limits need", got)
	}
	none := cgroupOf(t, map[string]string{"cgroup.controllers": "cpuset\n"})
	if _, controllers, why := delegate(none, true); controllers != nil || why != "no controllers are given to "+none {
		t.Errorf("got %v, %q", controllers, why)
	}
	shared := cgroupOf(t, map[string]string{"cgroup.controllers": "cpu memory\n", "cgroup.procs": "1\n", "cgroup.type": "domain\n"})
	if _, controllers, why := delegate(shared, true); controllers != nil || why != shared+" is not this runner's alone: it has other processes in it, such as 1" {
		t.Errorf("got %v, %q", controllers, why)
	}
	refusing := cgroupOf(t, map[string]string{"cgroup.controllers": "cpu memory\n"})
	if err := os.Mkdir(filepath.Join(refusing, "cgroup.subtree_control"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, controllers, why := delegate(refusing, true); len(controllers) > 0 || why != "cannot turn on cpu (is a directory), memory (is a directory)" {
		t.Errorf("got %v, %q", controllers, why)
	}
}

// A runner that its supervisor has put into "runner" uses what is above it.
func TestCgroupAboveTheRunner(t *testing.T) {
	parent := cgroupOf(t, map[string]string{"cgroup.procs": "", "cgroup.controllers": "cpu\n", "cgroup.subtree_control": ""})
	own := filepath.Join(parent, runnerCgroup)
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if root, _, _ := delegate(own, false); root != parent {
		t.Errorf("got %s, want %s", root, parent)
	}
	if root, _, _ := delegate(own, true); root != own {
		t.Errorf("one that was configured: got %s, want %s", root, own)
	}
	if err := os.WriteFile(filepath.Join(parent, "cgroup.procs"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if root, _, _ := delegate(own, false); root != own {
		t.Errorf("with others in it: got %s, want %s", root, own)
	}
}

func TestPathsBelow(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/a", "/", true}, {"/", "/", true}, {"/a/b", "/a/", true}, {"", "/a", false},
	} {
		if got := isBelow(c.path, c.dir); got != c.want {
			t.Errorf("%q below %q: got %t", c.path, c.dir, got)
		}
	}
}

func TestPathsOfAnOverlay(t *testing.T) {
	for path, want := range map[string]string{"/srv/app": "/srv/app", "/a:b": `/a\:b`, "/a,b": `/a\,b`, `/a\b`: `/a\\b`, `/a\,:b`: `/a\\\,\:b`} {
		if got := escapeOverlay(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// What a run does not see: what is hidden from all, and more from a strict one. What
// is scratch anyway is not covered twice.
func TestWhatIsCovered(t *testing.T) {
	o := &order{level: Standard, hide: []string{"/var/lib/runnel", "/tmp"}, homes: []string{"/home"}, sockets: []string{"/srv/app.sock"}}
	if got, want := o.covers(), []string{"/var/lib/runnel", "/home"}; !slices.Equal(got, want) {
		t.Errorf("standard: got %q, want %q", got, want)
	}
	o.level = Strict
	if got, want := o.covers(), []string{"/var/lib/runnel", "/run", "/media", "/mnt", "/sys", "/srv/app.sock", "/home"}; !slices.Equal(got, want) {
		t.Errorf("strict: got %q, want %q", got, want)
	}
	if !slices.Equal(o.hide, []string{"/var/lib/runnel", "/tmp"}) {
		t.Errorf("the order was changed: %q", o.hide)
	}
}

func TestNearestPlaceAbove(t *testing.T) {
	v := &view{placed: []placed{{"/run", true}, {"/run/user/app", false}, {"/home", true}}}
	for path, want := range map[string]placed{
		"/run/lock": {"/run", true}, "/run/user/app/x": {"/run/user/app", false}, "/run": {"/run", true}, "/runner": {}, "/srv": {}, "/home/a": {"/home", true},
	} {
		if got := v.above(path); got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}

func TestWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(dir, link)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]bool{dir: {true, true}, file: {false, true}, link: {false, false}, filepath.Join(dir, "nosuch"): {false, false}} {
		isDir, ok := isThere(path)
		if got := [2]bool{isDir, ok}; got != want {
			t.Errorf("%s: is a directory, is there: got %v, want %v", path, got, want)
		}
	}
}

// Of two entries with one name the last stays, in its place.
func TestEnvironmentsAreMerged(t *testing.T) {
	for name, c := range map[string]struct {
		lists [][]string
		want  []string
	}{
		"one":         {[][]string{{"A=1", "B=2"}}, []string{"A=1", "B=2"}},
		"over it":     {[][]string{{"A=1", "B=2"}, {"A=3"}}, []string{"B=2", "A=3"}},
		"twice":       {[][]string{{"A=1", "A=2"}}, []string{"A=2"}},
		"of three":    {[][]string{{"A=1"}, {"B=1"}, {"A=2", "C=1"}}, []string{"B=1", "A=2", "C=1"}},
		"none":        {nil, nil},
		"without a =": {[][]string{{"A", "A=1"}}, []string{"A=1"}},
		"empty":       {[][]string{{"A=1"}, {"A="}}, []string{"A="}},
	} {
		if got := mergeEnv(c.lists...); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	check := func(names []uint8) bool {
		var list []string
		for i, n := range names {
			list = append(list, string(rune('A'+n%6))+"="+string(rune('0'+i%10)))
		}
		merged := mergeEnv(list[:len(list)/2], list[len(list)/2:])
		seen := map[string]bool{}
		for _, entry := range merged {
			name, value, _ := strings.Cut(entry, "=")
			last, _ := lookupEnv(list, name)
			if seen[name] || last != value {
				return false
			}
			seen[name] = true
		}
		return true
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestVariablesAreLookedUp(t *testing.T) {
	env := []string{"PATH=/bin", "EMPTY=", "PATH=/usr/bin", "PATHS=x", "odd"}
	for name, want := range map[string]string{"PATH": "/usr/bin", "EMPTY": "", "NO": "!", "odd": "!", "PAT": "!"} {
		got, ok := lookupEnv(env, name)
		if ok == (want == "!") || ok && got != want {
			t.Errorf("%s: got %q, %t", name, got, ok)
		}
	}
}

func TestPathsAsSeenFromADirectory(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, path, want string }{
		{"/srv", "bin", "/srv/bin"}, {"/srv", "./bin/x", "/srv/bin/x"}, {"/srv", "../x", "/x"}, {"/srv", "/bin", "/bin"}, {"/srv", "", "/srv"}, {"", "x", filepath.Join(here, "x")}, {"", "", here}, {"/srv", "/a/../b", "/b"},
	} {
		if got := within(c.dir, c.path); got != c.want {
			t.Errorf("%q in %q: got %q, want %q", c.path, c.dir, got, c.want)
		}
	}
}

// An order that was cut, or that says more than there is, is refused and not guessed at.
func TestCutOrdersAreRefused(t *testing.T) {
	whole := (&order{
		level: Strict, network: true, uid: 5, gid: 6, groups: []int64{7, 8}, path: "/bin/x", argv: []string{"x", ""}, env: []string{"A=1"}, dir: "/", rlimits: []int64{1, 2}, overlay: "overlay",
	}).encode()
	if _, err := decodeOrder(whole); err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if _, err := decodeOrder(whole[:n]); !errors.Is(err, errOrder) {
			t.Errorf("the first %d of %d bytes: got %v", n, len(whole), err)
		}
	}
	if _, err := decodeOrder(append(slices.Clone(whole), 0)); !errors.Is(err, errOrder) {
		t.Errorf("with a byte more: got %v", err)
	}
	for name, o := range map[string]*order{"without a program": {}, "with half a limit": {argv: []string{"x"}, rlimits: []int64{1}}, "with a NUL": {argv: []string{"x\x00"}}} {
		if _, err := decodeOrder(o.encode()); !errors.Is(err, errOrder) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
