package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
)

// runnerCgroup is what this process moves itself into: cgroup v2 gives controllers to the cgroups inside one only while no process is in it itself.
const runnerCgroup = "runner"

// wantedControllers are those that limits use.
var wantedControllers = []string{"cpu", "io", "memory", "pids"}

// delegate takes hold of a subtree that was given to this process: it moves itself, and nobody else ever, into an inner cgroup and turns on the controllers for the leaves. root is where
// leaves are to be made; it differs from own when this process is in its inner cgroup already, by an earlier Open or because systemd put it there (DelegateSubgroup=runner).
func delegate(own string, configured bool) (root string, controllers []string, why string) {
	root = own
	if parent := filepath.Dir(own); !configured && filepath.Base(own) == runnerCgroup && canMake(parent) && len(directProcs(parent)) == 0 {
		root = parent
	}
	offered := strings.Fields(readText(filepath.Join(root, "cgroup.controllers")))
	offered = slices.DeleteFunc(offered, func(name string) bool { return !slices.Contains(wantedControllers, name) })
	if len(offered) == 0 {
		return root, nil, "no controllers are given to " + root
	}
	if others := slices.DeleteFunc(directProcs(root), func(pid int) bool { return pid == os.Getpid() }); len(others) > 0 && !isRootCgroup(root) {
		return root, nil, fmt.Sprintf("%s is not this runner's alone: it has other processes in it, such as %d", root, others[0])
	}
	if slices.Contains(directProcs(root), os.Getpid()) && !isRootCgroup(root) {
		inner := filepath.Join(root, runnerCgroup)
		if err := os.Mkdir(inner, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return root, nil, fmt.Sprintf("cannot make %s: %v", inner, rootCause(err))
		}
		if err := writeFile(filepath.Join(inner, "cgroup.procs"), "0"); err != nil {
			return root, nil, fmt.Sprintf("cannot move into %s: %v", inner, rootCause(err))
		}
	}
	// One write each: one controller that can't be had makes a joint write fail.
	var missing []string
	for _, name := range offered {
		if err := writeFile(filepath.Join(root, "cgroup.subtree_control"), "+"+name); err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", name, rootCause(err)))
		}
	}
	controllers = strings.Fields(readText(filepath.Join(root, "cgroup.subtree_control")))
	controllers = slices.DeleteFunc(controllers, func(name string) bool { return !slices.Contains(wantedControllers, name) })
	if len(missing) > 0 {
		why = "cannot turn on " + strings.Join(missing, ", ")
	}
	return root, controllers, why
}

// isRootCgroup says whether dir is the root of the whole tree, which alone may have processes and controllers together.
func isRootCgroup(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.type"))
	return errors.Is(err, fs.ErrNotExist)
}

func canMake(dir string) bool {
	return unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil
}

func readText(path string) string {
	text, _ := os.ReadFile(path) // nothing is what a missing file says
	return string(text)
}

// directProcs lists the processes in a cgroup itself. Those of another PID namespace are 0.
func directProcs(dir string) (pids []int) {
	for field := range strings.FieldsSeq(readText(filepath.Join(dir, "cgroup.procs"))) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// controls says whether limits of a controller can be set.
func (h *Host) controls(controller string) bool {
	return h.cgroups != nil && !h.cgroupsBroke.Load() && slices.Contains(h.cgroups.controllers, controller)
}

// Holds says whether this host can hold a run to a limit, by its name in a task.
func (h *Host) Holds(limit string) bool {
	for _, row := range limits.Rows() {
		if row.Name == limit {
			return row.Controller == "" || h.controls(row.Controller) || h.meters(row.Controller)
		}
	}
	return false
}

// meters says that this package can do what a controller that is not there would: see meter.
func (h *Host) meters(controller string) bool { return controller == "memory" && !h.portable }

// mayLimit refuses a limit that can't be set here.
func (h *Host) mayLimit(set limits.Set) error {
	needed := set.Needs()
	for _, controller := range slices.Sorted(maps.Keys(needed)) {
		if !h.controls(controller) && !h.meters(controller) {
			return fmt.Errorf("limit %s: this host has no %s controller to give: %s", needed[controller], controller, h.whyNoController())
		}
	}
	return nil
}

func (h *Host) whyNoController() string {
	switch {
	case h.cgroups == nil:
		return h.noCgroups
	case h.cgroups.why != "":
		return h.cgroups.why
	}
	return "the kernel has none"
}

// setLimits writes a leaf's limits.
func setLimits(leaf string, set limits.Set) error {
	for _, one := range set.Cgroup() {
		err := writeFile(filepath.Join(leaf, one.File), one.Value)
		if one.File == "memory.swap.max" && errors.Is(err, fs.ErrNotExist) { // a kernel without swap
			continue
		}
		if err != nil {
			return fmt.Errorf("set %s to %q: %w", one.File, one.Value, rootCause(err))
		}
	}
	return nil
}

// usage is what a leaf says of its run.
type usage struct {
	known        bool
	user, system time.Duration
	peakBytes    int64 // 0 without a memory controller, or before Linux 5.19
	oom          bool
}

func readUsage(leaf string) (u usage) {
	for line := range strings.Lines(readText(filepath.Join(leaf, "cpu.stat"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		micros, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "user_usec":
			u.user, u.known = time.Duration(micros)*time.Microsecond, true
		case "system_usec":
			u.system = time.Duration(micros) * time.Microsecond
		}
	}
	u.peakBytes, _ = strconv.ParseInt(strings.TrimSpace(readText(filepath.Join(leaf, "memory.peak"))), 10, 64)
	for line := range strings.Lines(readText(filepath.Join(leaf, "memory.events"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (name == "oom_kill" || name == "oom_group_kill") && value != "0" {
			u.oom = true
		}
	}
	return u
}

// into puts what the leaf knew, which is more than what the main process's parent was told, into a status.
func (u usage) into(s *Status) {
	if !u.known {
		return
	}
	s.CPUUser, s.CPUSystem, s.OOM = u.user, u.system, u.oom
	if u.peakBytes > 0 {
		s.PeakMemoryBytes = u.peakBytes
	}
}
