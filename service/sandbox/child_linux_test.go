package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// child is what the test binary does as a child.
func child(act string) {
	switch act {
	case "memory":
		page := make([]byte, 300<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
	case "allocate":
		mib, err := strconv.Atoi(os.Getenv("MIB"))
		check(err)
		page := make([]byte, mib<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
	case "write": // 4 MiB past the page cache
		file, err := os.OpenFile(os.Getenv("FILE"), os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o600)
		check(err)
		page, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned, as that needs
		check(err)
		for range 64 {
			_, err := file.Write(page)
			check(err)
		}
	case "special":
		check(special())
	case "keyring":
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		check(err)
		fmt.Println(id)
	case "hog":
		check(hog(os.Getenv("WAY")))
	case "delegated":
		check(delegated(os.Getenv("FOREIGN") == "true"))
	case "runner":
		check(runnerThatDies(os.Args[1], os.Args[2], os.Args[3]))
	case "subreaper":
		check(subreaper())
	default:
		os.Exit(99)
	}
}

// special is a runner with priorities of its own, which says what its runs have.
func special() error {
	h, err := sandbox.Open(sandbox.Config{NoCgroup: true, Prefix: fmt.Sprintf("special-%d-", os.Getpid())})
	if err != nil {
		return err
	}
	defer h.Close()
	for _, level := range append(h.Probe().Isolation, sandbox.None) {
		spec := sandbox.Spec{ID: "x", Argv: []string{"/bin/sh", "-c", "cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj; ionice"}, Isolation: level}
		p, err := h.Start(spec)
		if err != nil {
			return err
		}
		text := ""
		if _, err := p.Pump(func(_ int, data []byte) error { text += string(data); return nil }, nil); err != nil {
			return err
		}
		fmt.Println(level, strings.Fields(text))
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// runnerThatDies starts a tree and waits to be killed.
func runnerThatDies(way, prefix, n string) error {
	h, err := sandbox.Open(sandbox.Config{NoCgroup: way != byCgroup, Prefix: prefix})
	if err != nil {
		return err
	}
	env := []string{"PATH=" + os.Getenv("PATH")}
	script := fmt.Sprintf("sleep %s & setsid sleep %s >/dev/null 2>&1 & sleep %s", n, n, n)
	p, err := h.Start(sandbox.Spec{ID: "orphan", Argv: []string{"sh", "-c", script}, Env: env})
	if err != nil {
		return err
	}
	_, err = p.Pump(nil, nil)
	return err
}

// subreaper runs trees whose orphans become its children, beside children of its own that are waited for late.
func subreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	h, err := sandbox.Open(sandbox.Config{Prefix: fmt.Sprintf("rt-reap-%d-", os.Getpid())})
	if err != nil {
		return err
	}
	if !h.Facts().Reaps {
		return fmt.Errorf("a subreaper does not know that it is one")
	}
	own := exec.Command("true") // in our session, waited for after the orphans are long gone
	if err := own.Start(); err != nil {
		return err
	}
	slow, err := h.Start(sandbox.Spec{ID: "slow", Argv: []string{"sh", "-c", "exit 4"}}) // a zombie that Pump comes to late
	if err != nil {
		return err
	}
	for i := range 20 {
		p, err := h.Start(sandbox.Spec{ID: fmt.Sprint(i), Argv: []string{"sh", "-c", "(setsid sleep 0.05 &) ; sleep 100 & true"}})
		if err != nil {
			return err
		}
		if status, err := p.Pump(nil, nil); err != nil || status.ExitCode != 0 {
			return fmt.Errorf("run %d: %+v, %v", i, status, err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for zombies() != 2 { // the two that are waited for below
		if time.Now().After(deadline) {
			return fmt.Errorf("%d zombies are left, want 2", zombies())
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(2 * time.Second) // as long as orphans are given, and as long again
	if err := own.Wait(); err != nil {
		return fmt.Errorf("our own child was reaped by somebody else: %w", err)
	}
	if status, err := slow.Pump(nil, nil); err != nil || status.ExitCode != 4 {
		return fmt.Errorf("a run's main process was reaped by somebody else: %+v, %v", status, err)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		return fmt.Errorf("children are left: %v", err)
	}
	return h.Close()
}

func zombies() int {
	n, err := sandbox.CountZombies()
	check(err)
	return n
}

// delegated is a runner in a cgroup that was given to it, alone or not.
func delegated(foreign bool) error {
	h, err := sandbox.Open(sandbox.Config{Prefix: "given-"})
	if err != nil {
		return err
	}
	facts := h.Facts()
	set, err := limits.Text{limits.MemoryMax: "32M", limits.PidsMax: "50"}.Parse()
	if err != nil {
		return err
	}
	p, err := h.Start(sandbox.Spec{ID: "limited", Argv: []string{"cat", "/proc/self/cgroup"}, Env: []string{"PATH=/bin"}, Limits: set})
	if foreign {
		if err == nil || !strings.Contains(err.Error(), "not this runner's alone") {
			return fmt.Errorf("a limit in a shared cgroup: %v (%+v)", err, facts)
		}
		p, err = h.Start(sandbox.Spec{ID: "free", Argv: []string{"cat", "/proc/self/cgroup"}, Env: []string{"PATH=/bin"}})
	}
	if err != nil {
		return fmt.Errorf("%w (%+v)", err, facts)
	}
	text := ""
	if _, err := p.Pump(func(_ int, data []byte) error { text += string(data); return nil }, nil); err != nil {
		return err
	}
	if want := "0::/given/given-limited\n"; !foreign && text != want {
		return fmt.Errorf("born in %q, want %q", text, want)
	}
	p, err = h.Start(sandbox.Spec{ID: "hog", Argv: []string{"/proc/self/exe"}, Params: []string{"TEST_CHILD=memory"}, Limits: set})
	if foreign {
		return h.Close()
	}
	if err != nil {
		return err
	}
	if status, err := p.Pump(nil, nil); err != nil || !status.OOM {
		return fmt.Errorf("a memory hog: %+v, %v", status, err)
	}
	again, err := sandbox.Open(sandbox.Config{Prefix: "again-"}) // as a runner that is started again, or a second one in this process, finds it
	if err != nil {
		return err
	}
	if got := again.Facts(); got.Cgroup != facts.Cgroup || len(got.Controllers) != 4 {
		return fmt.Errorf("the second time: %+v", got)
	}
	if err := again.Close(); err != nil {
		return err
	}
	return h.Close()
}
