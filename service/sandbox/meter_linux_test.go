package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

const hogMiB = 3 << 10

// hog takes 3 GiB in one of several ways, a MiB each millisecond, and prints how many MiB it has.
func hog(way string) error {
	take := func(page []byte) error {
		for i := 0; i < len(page); i += 1 << 20 {
			for k := i; k < i+1<<20; k += 4096 {
				page[k] = 1
			}
			if i>>20%16 == 0 {
				fmt.Println(i >> 20)
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	mapped := func(fd, flags, mib int) error {
		page, err := unix.Mmap(fd, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, flags)
		if err != nil {
			return err
		}
		return take(page)
	}
	written := func(write func([]byte) (int, error)) error {
		chunk := make([]byte, 1<<20)
		for i := range hogMiB {
			if _, err := write(chunk); err != nil {
				return err
			}
			if i%16 == 0 {
				fmt.Println(i)
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	switch way {
	case "private":
		return mapped(-1, unix.MAP_ANON|unix.MAP_PRIVATE, hogMiB)
	case "shared":
		return mapped(-1, unix.MAP_ANON|unix.MAP_SHARED, hogMiB)
	case "memfd", "memfd mapped":
		fd, err := unix.MemfdCreate("hog", 0)
		if err == nil && way == "memfd mapped" {
			if err := unix.Ftruncate(fd, hogMiB<<20); err != nil {
				return err
			}
			return mapped(fd, unix.MAP_SHARED, hogMiB)
		}
		return errors.Join(err, written(func(p []byte) (int, error) { return unix.Write(fd, p) }))
	case "shrunk": // touched, and then a page of each is kept mapped
		for i := range hogMiB / 16 {
			addr, err := unix.MmapPtr(-1, 0, nil, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_SHARED)
			if err != nil {
				return err
			}
			for k := 0; k < 16<<20; k += 4096 {
				*(*byte)(unsafe.Add(addr, k)) = 1
			}
			fmt.Println(16 * i)
			if err := unix.MunmapPtr(unsafe.Add(addr, 4096), 16<<20-4096); err != nil {
				return err
			}
			time.Sleep(16 * time.Millisecond)
		}
		return nil
	case "closed": // written, and then a page of each is kept mapped
		chunk := make([]byte, 16<<20)
		for i := range hogMiB / 16 {
			fd, err := unix.MemfdCreate("hog", 0)
			if err != nil {
				return err
			}
			if _, err := unix.Write(fd, chunk); err != nil {
				return err
			}
			if _, err := unix.MmapPtr(fd, 0, nil, 4096, unix.PROT_READ, unix.MAP_SHARED); err != nil {
				return err
			}
			unix.Close(fd)
			fmt.Println(16 * i)
			time.Sleep(16 * time.Millisecond)
		}
		return nil
	case "sysv":
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, hogMiB<<20, unix.IPC_CREAT|0o600)
		if err != nil {
			return err
		}
		page, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			return err
		}
		return take(page)
	case "tmpfs":
		file, err := os.Create("/var/tmp/hog")
		if err != nil {
			return err
		}
		return written(file.Write)
	case "six":
		for range 6 {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env, cmd.Stdout = append(os.Environ(), "WAY=sixth"), os.Stdout
			if err := cmd.Start(); err != nil {
				return err
			}
		}
		select {}
	case "sixth":
		return mapped(-1, unix.MAP_ANON|unix.MAP_PRIVATE, hogMiB/6)
	case "shares": // six processes with the same 90 MiB
		page, err := unix.Mmap(-1, 0, 90<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_SHARED)
		if err != nil {
			return err
		}
		if err := take(page); err != nil {
			return err
		}
		for range 5 {
			if pid, _, _ := unix.RawSyscall(unix.SYS_FORK, 0, 0, 0); pid == 0 {
				for k := 0; k < len(page); k += 4096 {
					page[k]++
				}
				pause := unix.Timespec{Nsec: 600e6}
				unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
				unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
		time.Sleep(700 * time.Millisecond)
		return nil
	}
	return errors.New("no such way")
}

func hogSpec(t *testing.T, way string, level sandbox.Isolation) sandbox.Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Spec{Argv: []string{self}, Params: []string{"TEST_CHILD=hog", "WAY=" + way}, ReadOnly: []string{self}, Isolation: level}
}

// A run that has too much memory is ended where no controller does it, in whatever way it has it.
func TestMemoryWithoutController(t *testing.T) {
	h := newHost(t, byScan)
	if !h.Holds(limits.MemoryMax) {
		t.Error("memoryMax is not held")
	}
	isolates := len(h.Probe().Isolation) == 2
	for _, c := range []struct {
		way   string
		level sandbox.Isolation
	}{
		{"private", sandbox.None}, {"six", sandbox.None}, {"memfd", sandbox.None}, {"tmpfs", sandbox.Standard},
		{"private", sandbox.Strict}, {"shared", sandbox.Strict}, {"memfd", sandbox.Strict}, {"memfd mapped", sandbox.Strict},
		{"sysv", sandbox.Standard}, {"six", sandbox.Strict}, {"shrunk", sandbox.Strict}, {"closed", sandbox.Strict},
	} {
		t.Run(c.level.String()+" "+c.way, func(t *testing.T) {
			if c.level != sandbox.None && !isolates {
				t.Skip("this host can't isolate")
			}
			if (c.way == "shrunk" || c.way == "closed") && os.Geteuid() != 0 {
				t.Skip("root alone can ask for what is mapped and not open")
			}
			spec := hogSpec(t, c.way, c.level)
			spec.Limits = limitsOf(t, limits.Text{limits.MemoryMax: "200M", limits.FileSize: "max"})
			status, out := run(t, h, spec)
			if !status.OOM || status.CPULimit {
				t.Fatalf("got %+v\n%s%s", status, &out[0], &out[1])
			}
			// A MiB a millisecond, or six on more processors; two looks are 200 ms, with tenfold slack.
			taken := 0
			for line := range strings.FieldsSeq(out[0].String()) {
				n, _ := strconv.Atoi(line)
				taken = max(taken, n)
			}
			if taken > 2200 || status.PeakMemoryBytes < 150<<20 {
				t.Errorf("it got %d MiB, peak %d", taken, status.PeakMemoryBytes>>20)
			}
		})
	}
}

// Memory that processes share counts once.
func TestSharedMemoryCountsOnce(t *testing.T) {
	h := newHost(t, byScan)
	spec := hogSpec(t, "shares", sandbox.None)
	spec.Limits = limitsOf(t, limits.Text{limits.MemoryMax: "200M"})
	if status, out := run(t, h, spec); status.OOM || status.ExitCode != 0 || status.PeakMemoryBytes < 90<<20 || status.PeakMemoryBytes > 200<<20 {
		t.Errorf("got %+v\n%s%s", status, &out[0], &out[1])
	}
}

// A strict run has a maximum of its own.
func TestStrictMemoryByDefault(t *testing.T) {
	h := newHost(t, byScan)
	if why := h.Probe().NoIsolation[sandbox.Strict]; why != "" {
		t.Skip(why)
	}
	if status, out := run(t, h, hogSpec(t, "shared", sandbox.Strict)); !status.OOM {
		t.Errorf("got %+v\n%s%s", status, &out[0], &out[1])
	}
}

// The processor time of a run counts for all its processes together.
func TestCPUTimeOfTheRun(t *testing.T) {
	eachWay(t, []string{byCgroup, byScan}, func(t *testing.T, h *sandbox.Host) {
		for _, level := range append(levels, sandbox.None) {
			for _, script := range []string{
				"while :; do :; done",
				"while :; do :; done & while :; do :; done & while :; do :; done & wait",
				"while :; do sh -c 'n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done'; done",
			} {
				status, out := run(t, h, sandbox.Spec{Argv: sh(script), Limits: limitsOf(t, limits.Text{limits.CPUTime: "300ms"}), Isolation: level})
				if used := status.CPUUser + status.CPUSystem; !status.CPULimit || used < 250*time.Millisecond || used > 1500*time.Millisecond {
					t.Errorf("%s: %s: got %+v %q", level, script, status, &out[1])
				}
			}
			status, _ := run(t, h, sandbox.Spec{Argv: sh("sleep 0.5; exit 3"), Limits: limitsOf(t, limits.Text{limits.CPUTime: "300ms"}), Isolation: level})
			if status.CPULimit || status.ExitCode != 3 {
				t.Errorf("%s: an idle run: got %+v", level, status)
			}
		}
	})
}
