package sandbox

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Names of the steps whose failure is the task's own doing.
const (
	stepEnter   = "enter directory"
	stepExecute = "execute"
)

var rlimitNumbers = map[string]int{"cpu": unix.RLIMIT_CPU, "fsize": unix.RLIMIT_FSIZE, "nofile": unix.RLIMIT_NOFILE, "stack": unix.RLIMIT_STACK,
	"core": unix.RLIMIT_CORE, "nproc": unix.RLIMIT_NPROC}

// limitNames are what tasks call resource limits.
var limitNames = map[int64]string{unix.RLIMIT_CPU: "cpuTime", unix.RLIMIT_FSIZE: "fileSize", unix.RLIMIT_NOFILE: "openFiles", unix.RLIMIT_STACK: "stack",
	unix.RLIMIT_CORE: "core", unix.RLIMIT_NPROC: "nproc"}

// capabilities is how many a bounding set may have; the kernel says EINVAL for those that it does not know.
const capabilities = 64

// childSteps is the main process's way to exec, in an order that matters: what needs rights comes before they are given up, and the filter, which forbids much, comes last but for the
// program. ruleset is where the number of the landlock rules was saved, or nil.
func childSteps(o *order, stdio [3]int, ruleset *uintptr) (*steps, error) {
	s := &steps{}
	s.add("own session", unix.SYS_SETSID)
	s.addPriority(o.nice)
	s.addKeyring(o)
	for i := 0; i < len(o.rlimits); i += 2 {
		limit := &unix.Rlimit{Cur: uint64(o.rlimits[i+1]), Max: uint64(o.rlimits[i+1])}
		if o.rlimits[i] == unix.RLIMIT_CPU {
			limit.Max++ // with both the same, SIGKILL comes in the place of SIGXCPU
		}
		s.keep = append(s.keep, limit)
		s.add("hold it to limit "+limitNames[o.rlimits[i]], unix.SYS_PRLIMIT64, 0, int(o.rlimits[i]), uintptr(unsafe.Pointer(limit)), 0)
	}
	for i, fd := range stdio {
		s.add("set up standard streams", unix.SYS_DUP3, fd, i, 0)
	}
	s.add("close descriptors", unix.SYS_CLOSE_RANGE, 3, uintptr(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	if o.level != None {
		s.add("no new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		s.add("drop capabilities", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, 0, 0, 0, 0).times(1, capabilities).may = unix.EINVAL
	}
	if ruleset != nil {
		s.add("landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
	}
	s.addIdentity(o)
	if o.level != None {
		s.addNoCapabilities()
	}
	if o.dir != "" {
		s.add(stepEnter, unix.SYS_CHDIR, o.dir)
	}
	s.addSignals()
	if o.level == Strict {
		filter, err := strictFilter()
		if err != nil {
			return nil, err
		}
		program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		s.keep = append(s.keep, program, filter)
		s.add("seccomp", unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(program)), 0, 0)
	}
	s.add(stepExecute, unix.SYS_EXECVE, o.path, s.texts(o.argv), s.texts(o.env))
	return s, nil
}

// addIdentity takes on the account. In a user namespace there is only one.
func (s *steps) addIdentity(o *order) {
	if o.uid < 0 {
		return
	}
	groups := make([]uint32, len(o.groups)+1) // one too many, so that there is something to point to
	for i, group := range o.groups {
		groups[i] = uint32(group)
	}
	s.keep = append(s.keep, groups)
	s.add("set groups", unix.SYS_SETGROUPS, len(o.groups), uintptr(unsafe.Pointer(&groups[0])))
	s.add("set group", unix.SYS_SETRESGID, int(o.gid), int(o.gid), int(o.gid))
	s.add("set user", unix.SYS_SETRESUID, int(o.uid), int(o.uid), int(o.uid))
}

// addNoCapabilities gives up what is left: in a user namespace, its owner has all of them there.
func (s *steps) addNoCapabilities() {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{}
	s.keep = append(s.keep, header, data)
	s.add("drop capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).may = unix.EINVAL
	s.add("drop capabilities", unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)))
}

// ignored are the signals that this process was born to ignore, and so would its children: what takes back handlers (CLONE_CLEAR_SIGHAND) does not take back this.
var ignored = sync.OnceValue(func() (signals []int) {
	const ignore = 1 // SIG_IGN
	for signal := 1; signal <= 64; signal++ {
		var now [4]uintptr // struct sigaction; the handler comes first
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0)
		if errno == 0 && now[0] == ignore {
			signals = append(signals, signal)
		}
	}
	return signals
})

// addSignals gives the program the signals that a fresh one has.
func (s *steps) addSignals() {
	byDefault, none := &[4]uint64{}, &[1]uint64{}
	s.keep = append(s.keep, byDefault, none)
	for _, signal := range ignored() {
		s.add("reset signals", unix.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(byDefault)), 0, 8)
	}
	s.add("reset signals", unix.SYS_RT_SIGPROCMASK, int(unix.SIG_SETMASK), uintptr(unsafe.Pointer(none)), 0, 8)
}
