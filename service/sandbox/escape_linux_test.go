package sandbox_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// attack is a hostile program and what it may print: what it printed in vain. Those that never end are ended after a while.
type attack struct {
	name    string
	argv    []string
	want    string // exact standard output; "" with endless
	has     string // or a part of it
	endless bool
}

// The attacks in shell. $SECRET is a file of the runner's that a run must not see, $HOST a directory of the host that anybody may write to.
var shellAttacks = []attack{
	{name: "read secrets", want: "done\n", argv: sh(`cat "$SECRET" "$HIDDEN/key" /root/.ssh/id_rsa /etc/shadow /proc/1/environ 2>/dev/null; ls -A "$HIDDEN" /root /home 2>/dev/null | grep -v : | grep .; echo done`)},
	{name: "secrets by symbolic link", want: "done\n", argv: sh(`ln -s "$SECRET" a; ln -s / b; ln -s /proc/self/root c; cat a b/"$SECRET" c/"$SECRET" "b/$HIDDEN/key" 2>/dev/null; echo done`)},
	{name: "write to the host", want: "done\n", argv: sh(`for d in / /usr /etc /bin /var /var/lib /home /root /run /sys /proc/sys /boot /opt /srv /dev "$HOST" "$HIDDEN"; do (: >"$d/rt-escape") 2>/dev/null && echo "wrote to $d"; mkdir "$d/rt-escape-dir" 2>/dev/null && echo "made a directory in $d"; done; echo done`)},
	{name: "write by symbolic link", want: "done\n", argv: sh(`ln -s "$HOST" a; (: >a/rt-escape) 2>/dev/null && echo wrote; ln -s "$HOST/rt-escape2" b; (: >b) 2>/dev/null && echo wrote; echo done`)},
	{name: "kernel knobs", want: "done\n", argv: sh(`for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /sys/power/state /sys/kernel/mm/transparent_hugepage/enabled; do (echo 1 >"$f") 2>/dev/null && echo "wrote to $f"; done; echo done`)},
	{name: "devices", want: "done\n", argv: sh(`for f in /dev/mem /dev/kmem /dev/kmsg /dev/port /dev/sda /dev/vda /dev/vsock /dev/kvm /dev/fuse /dev/loop-control /dev/tty0 /dev/ttyS0; do (: <"$f") 2>/dev/null && echo "opened $f"; done; mknod /tmp/zero b 1 1 2>/dev/null && echo made; mknod /tmp/mem c 1 1 2>/dev/null && echo made; echo done`)},
	{name: "cgroups", want: "done\n", argv: sh(`find /sys/fs/cgroup -name cgroup.procs 2>/dev/null | while read -r f; do (echo $$ >"$f") 2>/dev/null && echo "moved to $f"; done; find /sys/fs/cgroup -type d 2>/dev/null | while read -r d; do mkdir "$d/rt-escape" 2>/dev/null && echo "made $d/rt-escape"; done; echo done`)},
	{name: "namespaces by command", want: "done\n", argv: sh(`unshare -Ur true 2>/dev/null && echo user; unshare -m true 2>/dev/null && echo mount; nsenter -t 1 -m true 2>/dev/null && echo entered; chroot / true 2>/dev/null && echo chroot; mount -t tmpfs none /tmp 2>/dev/null && echo mounted; umount /proc 2>/dev/null && echo unmounted; echo done`)},
	{name: "become root", want: "done\n", argv: sh(`for c in "su -c id" "sudo -n id" "pkexec id" "mount"; do $c </dev/null 2>/dev/null | grep uid=0; done; cp /bin/sh /tmp/sh && chmod u+s /tmp/sh && /tmp/sh -p -c id | grep euid; echo done`)},
	{name: "clock and name", want: "done\n", argv: sh(`date -s 2001-01-01 2>/dev/null >&2; date +%Y | grep 2001; hostname rt-escape 2>/dev/null; hostname | grep rt-escape; echo done`)},
	{name: "kill everybody", argv: sh(`sleep 100 & kill -9 -1; echo alive`), has: ""},
	{name: "stop the group", argv: sh(`kill -STOP 0; echo on`), endless: true},
	{name: "stop everybody", argv: sh(`kill -STOP -1; echo on; kill -STOP 1; kill -STOP $$`), endless: true},
	{name: "fork bomb", argv: sh(`f() { f | f & }; f; while :; do :; done`), endless: true},
	{name: "fork bomb that ignores signals", argv: sh(`trap '' TERM HUP INT; f() { f | f & }; f; sleep 1000; f`), endless: true},
	{name: "daemon", want: "done\n", argv: sh(`(setsid sh -c 'trap "" TERM HUP; env -i sleep N >/dev/null 2>&1 &' >/dev/null 2>&1 &); echo done`)},
	{name: "endless output", argv: []string{"yes"}, endless: true},
	{name: "full disk", has: "stopped\n", argv: sh(`for d in /tmp /var/tmp /dev/shm .; do i=0; while dd if=/dev/zero of=$d/f$i bs=1M count=64 2>/dev/null; do i=$((i+1)); [ $i -gt 64 ] && echo "4 GiB in $d"; [ $i -gt 64 ] && break; done; done; echo stopped`)},
	{name: "all inodes", has: "stopped\n", argv: sh(`seq -f /tmp/f%g 100000 | xargs touch 2>/dev/null; [ -e /tmp/f99999 ] && echo many; echo stopped`)},
	{name: "environment", want: "done\n", argv: sh(`env | grep -i runner-secret; cat /proc/*/environ 2>/dev/null | tr '\0' '\n' | grep -i runner-secret; echo done`)},
	{name: "tampering with the next run", want: "done\n", argv: sh(`echo evil >/tmp/left; echo evil >/dev/shm/left; echo evil >/var/tmp/left; echo evil >left; echo done`)},
	{name: "what the last run left", want: "done\n", argv: sh(`ls -A /tmp /dev/shm /var/tmp . | grep left; echo done`)},
}

// TestEscape runs hostile programs under strict. Each must fail at what it tries, and leave the host and the next run as they were.
func TestEscape(t *testing.T) {
	t.Setenv("RUNNER_SECRET", "runner-secret-value")
	for _, way := range []string{byCgroup, byScan} {
		t.Run(way, func(t *testing.T) { escape(t, way) })
	}
}

func escape(t *testing.T, way string) {
	site := newSite(t)
	h, err := sandbox.Open(sandbox.Config{NoCgroup: way != byCgroup, Prefix: fmt.Sprintf("rt-escape-%d-", os.Getpid()), Hide: []string{site.hidden}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Facts().Kill != way {
		t.Skip(h.Facts().NoCgroup)
	}
	if why := h.Probe().NoIsolation[sandbox.Strict]; why != "" {
		t.Skip(why)
	}
	attacks := append(shellAttacks, site.pythonAttacks(t)...)
	if calls := site.compile(t, "calls.c"); calls != "" {
		attacks = append(attacks, attack{name: "system calls", argv: []string{calls}, want: "0 got through\n"})
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			n := sleeper()
			argv := make([]string, len(a.argv))
			for i, arg := range a.argv {
				argv[i] = strings.ReplaceAll(arg, "sleep N", "sleep "+n)
			}
			p := start(t, h, sandbox.Spec{Argv: argv, Isolation: sandbox.Strict, Dir: site.work, ScratchBytes: 16 << 20, ReadOnly: site.readOnly,
				Params: site.env, Limits: limitsOf(t, limits.Text{limits.CPUTime: "20s"})})
			if a.endless {
				timer := time.AfterFunc(500*time.Millisecond, func() { p.Terminate(200 * time.Millisecond) })
				defer timer.Stop()
			}
			var out output
			tooMuch := errors.New("too much output")
			began := time.Now()
			_, err := p.Pump(func(stream int, data []byte) error {
				if out[0].Len() > 10<<20 {
					return tooMuch
				}
				return out.take(stream, data)
			}, nil)
			if err != nil && err != tooMuch {
				t.Error(err)
			}
			if got := out[0].String(); !a.endless && (a.want != "" && got != a.want || !strings.Contains(got, a.has)) {
				t.Errorf("it printed %q and %q, want %q", got, &out[1], a.want+a.has)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			site.check(t, n)
			if status, next := run(t, h, sandbox.Spec{Argv: sh("echo fine"), Isolation: sandbox.Strict}); status.ExitCode != 0 || next[0].String() != "fine\n" {
				t.Errorf("the next run: %+v, %q %q", status, &next[0], &next[1])
			}
		})
	}
	if left := sandbox.Leaves(t, h); len(left) > 0 {
		t.Errorf("leaves left: %v", left)
	}
}

// site is what the attacks are after.
type site struct {
	host, hidden, work, secret string
	env, readOnly              []string
}

func newSite(t *testing.T) *site {
	base, err := os.MkdirTemp("/var/lib", "rt-site-") // not in /tmp, which no run sees
	if err != nil {
		base, err = os.MkdirTemp("/var/tmp", "rt-site-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	s := &site{host: filepath.Join(base, "host"), hidden: filepath.Join(base, "hidden"), work: filepath.Join(base, "work")}
	for dir, mode := range map[string]os.FileMode{base: 0o755, s.host: 0o777, s.hidden: 0o755, s.work: 0o755} {
		if err := os.MkdirAll(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	s.secret = filepath.Join(s.hidden, "secret")
	for _, path := range []string{s.secret, filepath.Join(s.hidden, "key")} { // anybody may read them, if they can see them
		if err := os.WriteFile(path, []byte("the secret\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.env = []string{"SECRET=" + s.secret, "HIDDEN=" + s.hidden, "HOST=" + s.host, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return s
}

// check fails if an attack changed the host.
func (s *site) check(t *testing.T, n string) {
	t.Helper()
	if left := sandbox.HasCmdline(t, n); len(left) > 0 {
		t.Errorf("left alive: %v", left)
		killAll(left)
	}
	for _, dir := range []string{s.host, s.work} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s has %v, %v", dir, entries, err)
		}
	}
	if text, err := os.ReadFile(s.secret); err != nil || string(text) != "the secret\n" {
		t.Errorf("the secret is %q, %v", text, err)
	}
	for _, place := range []string{"/tmp/left", "/dev/shm/left", "/var/tmp/left", "/etc/rt-escape", "/rt-escape"} {
		if _, err := os.Lstat(place); err == nil {
			t.Errorf("%s is there", place)
		}
	}
}

func (s *site) pythonAttacks(t *testing.T) (attacks []attack) {
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Log("no python3: its attacks are left out")
		return nil
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	abstract := fmt.Sprintf("rt-abstract-%d-%d", os.Getpid(), time.Now().UnixNano())
	hidden, err := net.Listen("unix", "@"+abstract)
	if err != nil {
		t.Fatal(err)
	}
	path, err := net.Listen("unix", filepath.Join(s.hidden, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close(); hidden.Close(); path.Close() })
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	s.env = append(s.env, "PORT="+port, "ABSTRACT="+abstract, "SOCKET="+filepath.Join(s.hidden, "socket"), fmt.Sprintf("PIDS=%d %d", os.Getpid(), os.Getppid()))
	source, err := os.ReadFile("testdata/attack.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"network", "processes", "limits", "descriptors"} {
		attacks = append(attacks, attack{name: "python " + name, argv: []string{python, "-c", string(source), name}, want: "done\n"})
	}
	return attacks
}

// compile makes a program of a C source, or says that it can't.
func (s *site) compile(t *testing.T, source string) string {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Log("no C compiler: its attacks are left out")
		return ""
	}
	dir := filepath.Join(filepath.Dir(s.hidden), "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, strings.TrimSuffix(source, ".c"))
	if out, err := exec.Command(compiler, "-o", program, filepath.Join("testdata", source)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.readOnly = append(s.readOnly, dir)
	return program
}
