package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/mounts"
)

// Numbers of accounts that nothing else uses (see systemd's list of ranges): as root, an isolated run that names no user gets one of these for itself alone, so that no two runs can signal
// or count against one another.
const (
	firstFreeUID = 60706
	lastFreeUID  = 61183
)

// uids gives them out, the longest unused first.
type uids struct {
	mu   sync.Mutex
	used map[int]bool
	next int
}

func (u *uids) take() (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	const count = lastFreeUID - firstFreeUID + 1
	for range count {
		uid := firstFreeUID + u.next%count
		u.next++
		if !u.used[uid] {
			if u.used == nil {
				u.used = map[int]bool{}
			}
			u.used[uid] = true
			return uid, nil
		}
	}
	return 0, errors.New("too many isolated runs at once")
}

func (u *uids) giveBack(uid int) {
	u.mu.Lock()
	delete(u.used, uid)
	u.mu.Unlock()
}

// What a strict run is held to where its limits say nothing else.
const (
	strictMemory    = "2G"
	strictCore      = "0"
	strictOpenFiles = "1024"
	strictFileSize  = "1G"
	strictPids      = "256"
	strictTmpBytes  = 64 << 20 // of memory, each of the scratch places
)

// isolatedAccount is who an isolated run is: anybody but root.
func (h *Host) isolatedAccount(spec Spec) (account, error) {
	op := "run isolated"
	if os.Geteuid() != 0 {
		if spec.User == "" {
			return account{}, nil
		}
		who, err := findAccount(spec.User, spec.Done)
		if err == nil && who.cred != nil {
			return account{}, startErrorf(fmt.Sprintf("run as user %q", spec.User), "not permitted: the runner runs as user %d", os.Geteuid())
		}
		return who, err
	}
	if spec.User != "" {
		who, err := findAccount(spec.User, spec.Done)
		if err == nil && who.uid == 0 {
			return account{}, startErrorf(op, "user root is not possible with isolation %s", spec.Isolation)
		}
		return who, err
	}
	uid, err := h.uids.take()
	if err != nil {
		return account{}, startErrorf(op, "%w", err)
	}
	who := withCredential(account{name: strconv.Itoa(uid), home: "/tmp", shell: defaultShell, uid: uid, gid: uid})
	who.lent = true
	return who, nil
}

// orderFor is what the shim is told, or nil if none is needed.
func (h *Host) orderFor(spec Spec, cmd *command) (*order, error) {
	if spec.Isolation == None && len(spec.Limits.Rlimits()) == 0 && spec.Nice == 0 {
		// An account gets a session keyring, and nobody the runner's priorities, where there is a shim to see to it.
		if cmd.far == nil && (h.portable || h.shims.path == "" || !h.special && cmd.who.cred == nil) {
			return nil, nil
		}
	}
	o := &order{level: spec.Isolation, network: spec.Network || spec.Isolation == Standard, uid: -1, gid: -1,
		path: cmd.path, argv: cmd.argv, env: cmd.env, dir: cmd.dir, hide: h.hide}
	o.nice = int64(spec.Nice)
	if spec.Isolation == Strict {
		h.beStrict(o, spec, cmd)
	}
	var err error
	o.rlimits = rlimitList(cmd.limits)
	if cmd.who.cred != nil {
		o.uid, o.gid = int64(cmd.who.uid), int64(cmd.who.gid)
		for _, group := range cmd.who.groups {
			o.groups = append(o.groups, int64(group))
		}
	}
	o.users = spec.Isolation != None && needUserNamespace()
	for _, list := range []struct {
		from []string
		to   *[]string
	}{{spec.ReadOnly, &o.readOnly}, {spec.Writable, &o.writable}} {
		if *list.to, err = realPaths(list.from); err != nil {
			return nil, err
		}
	}
	if cmd.far != nil {
		o.far, o.searchPath = true, cmd.far.path
		if o.dir != "" {
			o.dir = within("", o.dir)
		}
	}
	if spec.Isolation == None {
		return o, nil
	}
	if err := h.placeIn(o, cmd); err != nil {
		return nil, err
	}
	return o, nil
}

// beStrict adds to an order what strict isolation takes away.
func (h *Host) beStrict(o *order, spec Spec, cmd *command) {
	if o.nice == 0 {
		o.nice = StrictNice
	}
	cmd.limits = spec.Limits.Over(h.strictLimits(spec.Limits))
	o.tmpBytes = strictTmpBytes
	if most := cmd.limits.Bytes(limits.MemoryMax); most > 0 {
		o.tmpBytes = min(o.tmpBytes, most)
	}
	o.homes = homes()
	o.scratchBytes, o.overlay = spec.ScratchBytes, h.overlayNow()
	o.sockets = h.hostSockets()
}

// placeIn finds an isolated run's directory, and the homes that it must not see.
func (h *Host) placeIn(o *order, cmd *command) error {
	switch {
	case o.dir == "":
		o.dir = "/tmp"
	case o.far: // the shim finds it
	default:
		var err error
		if o.dir, err = filepath.EvalSymlinks(within("", o.dir)); err != nil {
			return startErrorf(fmt.Sprintf("enter directory %q", cmd.dir), "%w", rootCause(err))
		}
	}
	for _, hidden := range h.hide {
		if isBelow(o.dir, hidden) {
			return startErrorf(fmt.Sprintf("enter directory %q", cmd.dir), "it is the runner's own, which no isolated run sees")
		}
	}
	if o.level == Standard { // what the account can't go through would hide what is to be shown below it
		for _, home := range homes() {
			shows := slices.ContainsFunc(o.readOnly, func(path string) bool { return isBelow(path, home) })
			if shows && (mayHang(home) || !mayEnter(home, cmd.who)) {
				o.homes = append(o.homes, home)
			}
		}
	}
	if o.scratchBytes > 0 && (o.dir == "/tmp" || o.dir == "/") {
		return startErrorf("run isolated", "scratch over %s is not possible", o.dir)
	}
	return nil
}

// strictLimits are the fixed ones of a strict run where it names nothing. Where a controller counts its processes, their number is not limited by account as well.
func (h *Host) strictLimits(named limits.Set) limits.Set {
	fixed := limits.Text{
		limits.MemoryMax: strictMemory, limits.Core: strictCore, limits.OpenFiles: strictOpenFiles, limits.FileSize: strictFileSize,
	}
	if h.controls("pids") {
		fixed[limits.PidsMax] = strictPids
	} else if _, counted := named[limits.PidsMax]; !counted {
		fixed[limits.Nproc] = strictPids
	}
	set, _ := fixed.Parse() // they are constants
	return set
}

// homes is where people keep their things.
func homes() []string {
	found := []string{"/home", "/root"}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) && home != "/" && !slices.ContainsFunc(found, func(one string) bool { return isBelow(home, one) }) {
		found = append(found, home)
	}
	var there []string
	for _, path := range found {
		if mayHang(path) {
			there = append(there, path)
		} else if path, err := filepath.EvalSymlinks(path); err == nil {
			there = append(there, path)
		}
	}
	return there
}

// mayHang says whether a path is on a mount that may hang, without touching that.
func mayHang(path string) bool {
	m, err := mounts.Of(path)
	return err == nil && m.MayHang()
}

// realPaths are paths without symbolic links, so that what is shown is what was meant.
func realPaths(paths []string) (clean []string, err error) {
	for _, path := range paths {
		found, err := filepath.EvalSymlinks(within("", path))
		if err != nil {
			return nil, startErrorf(fmt.Sprintf("show %q", path), "%w", rootCause(err))
		}
		clean = append(clean, found)
	}
	return clean, nil
}

// forkInShim has the shim start the main process. An isolated run's number is that of its namespace's first process, which ends when the main process has.
func (p *Process) forkInShim(cmd *command, writers [2]int, leafFD int) error {
	h := p.host
	var result [2]int
	if err := unix.Pipe2(result[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return explain(cmd, err)
	}
	defer unix.Close(result[1])
	fds := []int{int(cmd.stdin.Fd()), writers[0], writers[1], result[1]}
	if cmd.order.hasLeaf = leafFD >= 0; cmd.order.hasLeaf {
		fds = append(fds, leafFD)
	}
	h.forking.RLock()
	defer h.forking.RUnlock()
	p.tree.startTicks = ticksSinceBoot()
	p.started = time.Now()
	child, err := h.shims.carry(cmd.order, fds)
	runtime.KeepAlive(cmd.stdin)
	if err != nil {
		unix.Close(result[0])
		if answer := (*answerError)(nil); !errors.As(err, &answer) {
			h.endUnanswered(cmd.mark)
		}
		return explainShim(cmd, err)
	}
	p.pid, p.tree.pidfd = child.pid, child.pidfd
	if cmd.order.level == None {
		unix.Close(result[0])
	} else {
		p.tree.first = &firstProcess{result: result[0]}
	}
	h.enter(p)
	return nil
}

// endUnanswered ends what a shim may have started before it ended without an answer: an order is not given twice.
func (h *Host) endUnanswered(mark string) {
	err := killFound(func() (found []proc, err error) {
		all, err := h.taker.take()
		if err != nil {
			return nil, err
		}
		for _, one := range all.procs {
			if !one.dead() && all.mark(one) == mark {
				found = append(found, one)
			}
		}
		return found, nil
	}, stuckAfter)
	if err != nil {
		h.log.Warn("processes of a run that was not started may be left", "mark", mark, "error", err)
	}
}

// firstProcess is the first one of an isolated run's PID namespace. It tells how the main process has ended when all others in there have; then it ends, which takes a while: its mounts go with it.
type firstProcess struct {
	result int
	told   bool
	end    ending
}

// hear says whether it has told, and not been killed before it could.
func (f *firstProcess) hear() bool {
	if !f.told {
		n, err := readFull(f.result, (*[endingBytes]byte)(unsafe.Pointer(&f.end))[:])
		f.told = err == nil && n == endingBytes
	}
	return f.told
}

func (f *firstProcess) status() Status {
	status := statusOf(unix.WaitStatus(f.end.status), unix.Rusage{})
	status.CPUUser, status.CPUSystem, status.PeakMemoryBytes = time.Duration(f.end.userNanos), time.Duration(f.end.systemNanos), f.end.peakKB<<10
	return status
}

func needOf(o *order) string {
	if o.level == None {
		return "set limits"
	}
	return fmt.Sprintf("isolate (%s)", o.level)
}

func explainShim(cmd *command, err error) *StartError {
	answer := &answerError{}
	if !errors.As(err, &answer) {
		return startErrorf(needOf(cmd.order), "%w", err)
	}
	switch answer.step {
	case stepExecute:
		op := fmt.Sprintf("run %q", cmd.argv[0])
		switch {
		case answer.errno == unix.ENOENT && executable(cmd.path) == nil && (!isScript(cmd.path) || cmd.order.hides(cmd.path)):
			return startErrorf(op, "%w", plainError{"no such program inside the sandbox: " + cmd.path + " is hidden from it", answer.errno})
		case answer.errno == unix.EACCES && cmd.order.level != None: // that it may enter its directory was seen before
			return startErrorf(op, "%w", plainError{"permission denied inside the sandbox", answer.errno})
		}
		return explain(cmd, answer.errno)
	case stepEnter:
		if answer.errno == unix.EACCES && cmd.order.level == None {
			return explainDenied(cmd, answer.errno)
		}
		return startErrorf(fmt.Sprintf("enter directory %q", cmd.order.dir), "%w", answer.errno)
	}
	if answer.step == stepFork {
		switch answer.errno {
		case unix.EAGAIN, unix.ENOMEM:
			return explain(cmd, answer.errno)
		case unix.EPERM, unix.ENOSPC, unix.EINVAL:
			return startErrorf(needOf(cmd.order), "%w", plainError{fmt.Sprintf("this host does not let the runner make namespaces (%v)", answer.errno), answer.errno})
		}
	}
	return startErrorf(needOf(cmd.order), "%w", answer)
}

// hides says whether a run does not see what the host has at a path.
func (o *order) hides(path string) bool {
	below := func(places []string) bool {
		return slices.ContainsFunc(places, func(place string) bool { return isBelow(path, place) })
	}
	return o.level != None && below(slices.Concat(scratchPlaces, o.covers())) && !below(slices.Concat(o.readOnly, o.writable, o.ownDir()))
}

func isScript(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	var head [2]byte
	n, _ := file.Read(head[:])
	return n == 2 && string(head[:]) == "#!"
}

// rlimitList is an order's form of limits.
func rlimitList(set limits.Set) (list []int64) {
	for _, one := range set.Rlimits() {
		list = append(list, int64(rlimitNumbers[one.Resource]), int64(min(one.Max, 1<<62)))
	}
	return list
}
