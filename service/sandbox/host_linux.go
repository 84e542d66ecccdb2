package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/mounts"
)

// hostOS is what a Host has on Linux alone.
type hostOS struct {
	cgroups      *cgroups // nil where there are none to be had
	noCgroups    string   // why not
	cgroupsBroke atomic.Bool
	cgroupsWork  atomic.Bool // a process has been born in a leaf
	portable     bool        // tests: do as the other unixes do
	reaper       *reaper
	taker        taker
	shims        *shims
	uids         uids
	budget       *mounts.Budget
	hide         []string
	special      bool       // this process has what its runs must not inherit
	bound        sync.Mutex // guards boundAt
	boundAt      map[string]string
	overlay      string     // the file system that gives a strict run its scratch; empty: do without
	probed       sync.Mutex // guards overlay, levels and noLevels
	levels       []Isolation
	noLevels     map[Isolation]string
	empties      []emptyLeaf    // guarded by Host.mu
	removals     sync.WaitGroup // of those
	leftBehind   waits          // for killed processes that hang
	forking      sync.RWMutex   // read-held from a fork until the process is in live
}

// tree is how Linux holds a run's processes.
type tree struct {
	leaf       string // path of the leaf cgroup, or empty
	pidfd      int
	startTicks uint64 // since boot, not later than the main process's own
	watch      *watch
	first      *firstProcess // of an isolated run's namespace; then the run's number is its; or nil
	usage      usage         // of the leaf, taken before it was removed
}

// Facts tells what this host can do.
func (h *Host) Facts() Facts {
	facts := Facts{NoCgroup: h.noCgroups, Kill: "scan", Reaps: h.reaper != nil}
	switch {
	case h.portable:
		facts.Kill = "group"
	case h.cgroupsBroke.Load():
		facts.NoCgroup = "the kernel refused to start a process in a leaf"
	case h.cgroups != nil:
		facts.Cgroup, facts.Kill = h.cgroups.root, "cgroup"
		facts.Controllers = h.cgroups.controllers
	}
	if len(facts.Controllers) < len(wantedControllers) {
		facts.NoControllers = h.whyNoController()
	}
	for _, name := range limits.Names() {
		if !h.Holds(name) {
			facts.NoLimits = append(facts.NoLimits, name)
		}
		if name == limits.MemoryMax && !h.controls("memory") && h.meters("memory") {
			facts.Metered = append(facts.Metered, "memory")
		}
	}
	h.probed.Lock()
	defer h.probed.Unlock()
	facts.Isolation, facts.NoIsolation = h.levels, h.noLevels
	return facts
}

func (h *Host) openOS(cfg Config) error {
	if cfg.NoCgroup {
		h.noCgroups = "turned off"
	} else {
		found, err := findCgroups(cfg.CgroupRoot, h.prefix)
		if cfg.CgroupRoot != "" && errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			h.noCgroups = err.Error()
		}
		h.cgroups = found
	}
	if h.budget = cfg.Budget; h.budget == nil {
		h.budget = &mounts.Budget{}
	}
	h.shims = &shims{null: h.null, running: map[kind]*shim{}}
	h.shims.path, h.shims.why = findShim(cfg.Shim)
	h.special, h.overlay = isSpecial(), overlayType
	for _, path := range cfg.Hide {
		if path, err := filepath.EvalSymlinks(within("", path)); err == nil {
			h.hide = append(h.hide, path)
		}
	}
	if adoptsOrphans() {
		h.reaper = startReaper(h)
	}
	return nil
}

func (h *Host) closeOS() {
	h.leftBehind.close()
	h.removals.Wait()
	if h.cgroups != nil {
		h.cgroups.disown()
	}
	h.shims.close()
	if h.reaper != nil {
		h.reaper.stop()
	}
}

func (h *Host) giveBack(who account) {
	if who.lent {
		h.uids.giveBack(who.uid)
	}
}

// Probe finds out which levels of isolation work here, by starting a process in each, and returns what Facts then does.
func (h *Host) Probe() Facts {
	var levels []Isolation
	failures := map[Isolation]string{}
	for _, level := range []Isolation{Standard, Strict} {
		if err := h.tryIsolation(level); err != nil {
			failures[level] = err.Error()
		} else {
			levels = append(levels, level)
		}
	}
	h.probed.Lock()
	h.levels, h.noLevels = levels, failures
	h.probed.Unlock()
	return h.Facts()
}

// tryIsolation does once what a run at this level may ask for: a strict one, scratch.
func (h *Host) tryIsolation(level Isolation) error {
	if level != Strict {
		return h.tryOnce(Spec{Isolation: level, Argv: []string{"/bin/sh", "-c", ":"}})
	}
	dir, err := os.MkdirTemp("", "runnel-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "here"), nil, 0o644)); err != nil {
		return err
	}
	scratch := Spec{Isolation: level, Dir: dir, ScratchBytes: 1 << 20, Argv: []string{"/bin/sh", "-c", "test -e here && : >new"}}
	err = h.tryOnce(scratch)
	if err == nil || h.overlayNow() == "" {
		return err
	}
	h.setOverlay("")
	if again := h.tryOnce(scratch); again != nil {
		h.setOverlay(overlayType)
		return err
	}
	h.log.Debug("no overlayfs: what a strict program is made of can't be changed by itself", "error", err)
	return nil
}

func (h *Host) tryOnce(spec Spec) error {
	spec.ID = "probe-" + spec.Isolation.String() + "-" + strconv.Itoa(os.Getpid())
	p, err := h.Start(spec)
	if err != nil {
		return err
	}
	status, err := p.Pump(nil, nil)
	if err == nil && (status.ExitCode != 0 || status.Signal != 0) {
		err = fmt.Errorf("a program that tries it ended with %d %s", status.ExitCode, status.SignalName())
	}
	return err
}

// overlayType is the kernel's name of it.
const overlayType = "overlay"

func (h *Host) overlayNow() string {
	h.probed.Lock()
	defer h.probed.Unlock()
	return h.overlay
}

func (h *Host) setOverlay(kind string) {
	h.probed.Lock()
	defer h.probed.Unlock()
	h.overlay = kind
}

// gone is how long a sweep waits for killed processes to be gone. A process may hang in the kernel (a dead network file system) for as long as it likes;
// then it is logged, and left to the next Sweep.
const gone = 10 * time.Second
