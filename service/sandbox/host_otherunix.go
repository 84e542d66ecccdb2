//go:build unix && !linux

package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
)

type hostOS struct{}

type tree struct{}

// Facts tells what this host can do.
func (h *Host) Facts() Facts {
	facts := Facts{NoCgroup: "only Linux has cgroups", Kill: "group"}
	for _, name := range limits.Names() {
		if !h.Holds(name) {
			facts.NoLimits = append(facts.NoLimits, name)
		}
	}
	return facts
}

func (h *Host) openOS(cfg Config) error {
	if cfg.CgroupRoot != "" {
		return errors.New("only Linux has cgroups")
	}
	return nil
}

func (h *Host) closeOS() {}

// seat is nothing here: the fork makes all.
type seat struct{}

func (r *Prepared) takeSeat() error { return nil }

func (r *Prepared) leaveSeat() {}

func (r *Prepared) spawn() (*Process, error) { return r.host.spawnPortable(r.cmd) }

// Pump moves the output until the run is over: it calls out with what was read (stream 0 is standard output, 1 standard error; data is valid until out returns), and
// quiet when nothing came for 200 ms after something did. Both are called from the goroutine that calls Pump, and while out does not return, the task waits when it has
// filled its pipe. When the main process has ended, what is left of its group is killed and its pipes are drained before Pump returns.
//
// An error from out ends the run and is returned with the status; what comes after it is read and thrown away. Either function may be nil.
func (p *Process) Pump(out func(stream int, data []byte) error, quiet func(idle bool) bool) (Status, error) {
	return p.pumpPortable(out, quiet)
}

func (p *Process) signalTree(sig unix.Signal) { _ = unix.Kill(-p.pid, sig) } // ESRCH: it has ended

func (p *Process) killTree() { p.signalTree(unix.SIGKILL) }

// Sweep has nothing to find an earlier life's processes by here.
func (h *Host) Sweep() error { return nil }

// mayEnter can't be asked for another account here.
func mayEnter(dir string, _ account) bool { return unix.Access(dir, unix.X_OK) == nil }

// inputFile holds a task's standard input in a file without a name, so that nobody has to feed it.
func inputFile(content []byte) (*os.File, error) {
	file, err := os.CreateTemp("", "stdin")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err == nil {
		_, err = file.Write(content)
		if err == nil {
			_, err = file.Seek(0, 0)
		}
		if err == nil {
			return file, nil
		}
	}
	file.Close()
	return nil, errors.New("cannot write the temporary file")
}

func (h *Host) giveBack(account) {}

func (h *Host) isolatedAccount(spec Spec) (account, error) {
	return account{}, startErrorf(fmt.Sprintf("isolate (%s)", spec.Isolation), "only Linux can")
}

type order struct{}

func (h *Host) orderFor(spec Spec, _ *command) (*order, error) {
	if len(spec.Limits.Needs()) > 0 || len(spec.Limits.Rlimits()) > 0 {
		return nil, startErrorf("set limits", "only Linux can")
	}
	return nil, nil
}

// Probe finds out which levels of isolation work here: none.
func (h *Host) Probe() Facts { return h.Facts() }

// ShimMain makes a program its own shim; there is nothing for one to do here.
func ShimMain() {}
