package sandbox

import (
	"sync"
	"sync/atomic"
	"time"
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
	removals     sync.WaitGroup // of empty leaves
	forking      sync.RWMutex   // read-held from a fork until the process is in live
}

// tree is how Linux holds a run's processes.
type tree struct {
	leaf       string // path of the leaf cgroup, or empty
	pidfd      int
	startTicks uint64 // since boot, not later than the main process's own
	watch      *watch
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
	}
	return facts
}

func (h *Host) openOS(cfg Config) error {
	if cfg.NoCgroup {
		h.noCgroups = "turned off"
	} else {
		found, err := findCgroups(cfg.CgroupRoot, h.prefix)
		if err != nil && cfg.CgroupRoot != "" {
			return err
		}
		if err != nil {
			h.noCgroups = err.Error()
		}
		h.cgroups = found
	}
	if adoptsOrphans() {
		h.reaper = startReaper(h)
	}
	return nil
}

func (h *Host) closeOS() {
	h.removals.Wait()
	if h.reaper != nil {
		h.reaper.stop()
	}
}

// gone is how long the end of a run waits for killed processes to be gone. A process may hang in the kernel (a dead network file system) for as long as it likes;
// then it is logged, and left to the next Sweep.
const gone = 10 * time.Second
