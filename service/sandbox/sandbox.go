package sandbox

import (
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/mounts"
)

// DefaultPrefix begins the names of leaf cgroups and the marker's value, if Config has none.
const DefaultPrefix = "runnel-"

// MarkerName is the environment variable that says which run a process belongs to. Its value is the prefix and the run's id.
const MarkerName = "RUNNEL_MARK"

// Config says how a Host holds processes. The zero value is useful.
type Config struct {
	// CgroupRoot is the cgroup v2 directory in which leaves are made; empty means the one this process is in.
	CgroupRoot string
	// NoCgroup leaves cgroups alone, even where there are some.
	NoCgroup bool
	// Prefix begins the name of every leaf and the value of every marker. It must be this runner's alone and the same after a restart, for Sweep kills what has
	// it.
	Prefix string
	// Shim is the program that makes an isolated run's surroundings. Empty means runnel-shim beside this program, else this program itself, if its main calls
	// ShimMain.
	Shim string
	// Hide lists files and directories that no isolated run may see: the runner's own data and keys.
	Hide []string
	// Budget bounds how many starts may hang on a mount; nil means one of this Host's own.
	Budget *mounts.Budget
	// Logger gets what is worth a line; nil means slog.Default().
	Logger *slog.Logger
}

// Spec is one process to start.
type Spec struct {
	// ID names the run: letters, digits, - _ and dots.
	ID string
	// Argv is the program and its arguments. A program without a slash is searched in the PATH of the task's own environment.
	Argv []string
	// OwnProgram: the program is the caller's choice and not the task's, so that a PATH among Params doesn't say where it is.
	OwnProgram bool
	// Env is the environment, NAME=value. Of two with one name the last wins.
	Env []string
	// Params come after Env, and after the HOME, USER and LOGNAME that User sets.
	Params []string
	// Dir is the working directory; empty means this process's own.
	Dir string
	// Done gives up a start that a mount holds up, when it is closed; nil never is.
	Done <-chan struct{}
	// Merge gives standard output and error one pipe: what is written comes in its order, as stream 0.
	Merge bool
	// Stdin is what can be read on standard input; empty means end of file at once.
	Stdin []byte
	// User is the account to run as, by name or number; empty means this process's own, and for isolated runs of root one that is nobody else's.
	User string

	// Limits bound the run. One that this host can't hold it to makes the start fail; none is skipped.
	// Output and wall time are the caller's matter.
	Limits limits.Set
	// Nice is added to the run's priority number, 0 to 19; 0 means StrictNice for a strict run.
	Nice int
	// Isolation keeps it away from the host. An isolated run's environment is Params and a PATH, not Env; its Dir is /tmp unless another is given.
	Isolation Isolation
	// Network gives a strict run the host's network.
	Network bool
	// ReadOnly and Writable list what an isolated run must see though it would be hidden; a strict run can write only to what is in Writable, to Dir and to its own
	// /tmp, /var/tmp and /dev/shm. Rights are as ever: who may write is the account's and the file's matter.
	ReadOnly, Writable []string
	// Own are files that the account of an isolated run is given: it may be one that is only known when the run begins.
	Own []string
	// ScratchBytes lets a strict run make files in Dir, this much at most, and forgets what it wrote there; 0 means Dir is as it is.
	ScratchBytes int64
}

// StrictNice makes runs of strangers wait for everything else.
const StrictNice = 5

// Facts is what this host can do.
type Facts struct {
	// Cgroup is the directory in which leaves are made, or empty; then NoCgroup says why.
	Cgroup, NoCgroup string
	// Kill says what a run's processes are found by: cgroup, scan or group.
	Kill string
	// Controllers are the cgroup controllers that limits can use; if there are none, NoControllers says why.
	Controllers   []string
	NoControllers string
	// NoLimits lists the limits that no run can be held to here.
	NoLimits []string
	// Metered lists the controllers (memory) that are not there and in whose place runs are looked at every 100 ms: a run can be above its limit by what it takes between two looks.
	Metered []string
	// Isolation lists the levels that work, and NoIsolation says why others don't. They are known after Probe.
	Isolation   []Isolation
	NoIsolation map[Isolation]string
	// Reaps says that orphans become this process's children, and that it reaps them.
	Reaps bool
}

// Status is how a process ended.
type Status struct {
	// ExitCode is what the main process returned, or -1 if a signal ended it.
	ExitCode int
	// Signal is the one that ended the main process, or 0.
	Signal syscall.Signal
	// CPUUser and CPUSystem are those of the run's processes.
	CPUUser, CPUSystem time.Duration
	// PeakMemoryBytes is the memory that the run used at most; 0 means not known. Without a memory controller it is that of its biggest process, and known
	// only if that was bigger than this process.
	PeakMemoryBytes int64
	// OOM says that the run was at its memory limit and something of it was killed for that: by the kernel, or, where there is no memory controller, all of it by this package.
	OOM bool
	// CPULimit says that the run used the processor time that it was given.
	CPULimit bool
}

// SignalName is the signal's name, such as SIGKILL, or empty.
func (s Status) SignalName() string {
	if s.Signal == 0 {
		return ""
	}
	return signalName(s.Signal)
}

// StartError says why a process could not be started: nothing of the task has run.
type StartError struct {
	// Op is what was tried, such as "find program nope".
	Op string
	// Err is the cause, in plain words.
	Err error
}

func (e *StartError) Error() string { return fmt.Sprintf("cannot %s: %v", e.Op, e.Err) }

func (e *StartError) Unwrap() error { return e.Err }

func startErrorf(op, format string, args ...any) *StartError {
	return &StartError{Op: op, Err: fmt.Errorf(format, args...)}
}
