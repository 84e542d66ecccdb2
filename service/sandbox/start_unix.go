//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runnel-io/runnel/service/limits"
)

// Process is one run's main process and what it starts. Pump must be called once; the other methods may be called at any time, from any goroutine.
type Process struct {
	host    *Host
	id      string
	mark    string // the value of the marker in its environment
	pid     int
	started time.Time
	who     account
	pipes   [2]int // read ends of standard output and error, Pump's alone
	tree    tree
	limits  limits.Set
	scratch string // where it writes to memory, beside the places that every isolated run has

	mu        sync.Mutex // guards what follows
	ended     bool
	grace     *time.Timer
	graceEnds time.Time
	stuck     *time.Timer // since it was killed
	killed    time.Time
	work      sync.WaitGroup // signalling in the background; the main process is reaped after it, so that its number stays its own
}

// PID is the main process's number. It is the run's own until Pump returns.
func (p *Process) PID() int { return p.pid }

// command is a Spec that has been looked up: everything that exec and the kernel need.
type command struct {
	id     string
	mark   string
	path   string
	argv   []string
	env    []string
	dir    string
	who    account
	stdin  *os.File
	limits limits.Set
	order  *order // for a shim, or nil
	far    *farStart
	merge  bool
}

// isolatedEnv is an isolated run's environment before its account and its parameters: nothing of the runner's.
var isolatedEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/tmp"}

// Prepared is a process that is not there yet, with everything that it needs. Start or Discard, one of them once, ends it.
type Prepared struct {
	host *Host
	cmd  *command
	seat seat
}

// Prepare does all of a start that can be done, and undone, without anybody noticing. An error is a *StartError, and then nothing is left of the attempt.
func (h *Host) Prepare(spec Spec) (*Prepared, error) {
	cmd, err := h.lookUp(spec)
	if err != nil {
		return nil, err
	}
	p := &Prepared{host: h, cmd: cmd}
	if err := p.takeSeat(); err != nil {
		p.release()
		h.giveBack(cmd.who)
		return nil, err
	}
	return p, nil
}

// Start starts the process. An error is a *StartError, and then nothing is left of the attempt.
func (p *Prepared) Start() (*Process, error) {
	defer p.release()
	process, err := p.spawn()
	if err != nil {
		p.host.giveBack(p.cmd.who)
		return nil, err
	}
	return process, nil
}

// Discard undoes Prepare.
func (p *Prepared) Discard() {
	p.leaveSeat()
	p.release()
	p.host.giveBack(p.cmd.who)
}

// release gives back what only a start needs.
func (p *Prepared) release() {
	if p.cmd.stdin != p.host.null {
		p.cmd.stdin.Close()
	}
}

// Start is Prepare and Prepared.Start.
func (h *Host) Start(spec Spec) (*Process, error) {
	p, err := h.Prepare(spec)
	if err != nil {
		return nil, err
	}
	return p.Start()
}

func (h *Host) lookUp(spec Spec) (_ *command, failed error) {
	if len(spec.Argv) == 0 {
		return nil, startErrorf("start", "no program given")
	}
	if err := checkID(spec.ID); err != nil {
		return nil, startErrorf("start", "%w", err)
	}
	cmd := &command{id: spec.ID, mark: h.prefix + spec.ID, argv: spec.Argv, dir: spec.Dir, limits: spec.Limits, merge: spec.Merge}
	env := spec.Env
	var err error
	switch {
	case spec.Isolation != None:
		env = isolatedEnv
		cmd.who, err = h.isolatedAccount(spec)
	case spec.User != "":
		cmd.who, err = findAccount(spec.User, spec.Done)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed != nil {
			h.giveBack(cmd.who)
		}
	}()
	if err := cmd.own(spec.Own); err != nil {
		return nil, err
	}
	env = cmd.setEnv(spec, env)
	if err := checkStrings(cmd); err != nil {
		return nil, err
	}
	if err := h.findProgram(spec, cmd, env); err != nil {
		return nil, err
	}
	if cmd.order, err = h.orderFor(spec, cmd); err != nil {
		return nil, err
	}
	cmd.stdin = h.null
	if len(spec.Stdin) > 0 {
		if cmd.stdin, err = inputFile(spec.Stdin); err != nil {
			return nil, startErrorf("prepare standard input", "%w", err)
		}
	}
	return cmd, nil
}

// own gives files to the account.
func (cmd *command) own(paths []string) error {
	if cmd.who.cred == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Lchown(path, cmd.who.uid, cmd.who.gid); err != nil {
			return startErrorf("give "+path+" to "+cmd.who.name, "%w", rootCause(err))
		}
	}
	return nil
}

// setEnv makes the environment of what the caller gave, and returns that part of it
// in which a program of the caller's choice is searched.
func (cmd *command) setEnv(spec Spec, env []string) (where []string) {
	if spec.Isolation == None && spec.Dir != "" {
		env = mergeEnv(env, []string{"PWD=" + within("", spec.Dir)}) // as a shell says after cd
	}
	if cmd.who.name == "" {
		own := ownAccount()
		if spec.Isolation != None { // it is not the account's own place
			own.shell = defaultShell
		}
		env = mergeEnv(env, own.missingFrom(env))
	}
	cmd.env = mergeEnv(env, cmd.who.env(), spec.Params, []string{MarkerName + "=" + cmd.mark})
	if spec.OwnProgram {
		return env
	}
	return cmd.env
}

// findProgram finds the program now, or leaves that to the shim where a mount may hang.
func (h *Host) findProgram(spec Spec, cmd *command, env []string) (err error) {
	if cmd.far = h.farOf(spec, env); cmd.far != nil {
		return nil
	}
	if err := checkDir(spec.Dir); err != nil {
		return err
	}
	cmd.path, err = lookProgram(spec.Argv[0], spec.Dir, env, cmd.who)
	return err
}

// checkID refuses what can't be the name of a directory: the id names the leaf.
func checkID(id string) error {
	if id == "" || len(id) > 200 || strings.ContainsAny(id, "/\x00\n") {
		return fmt.Errorf("bad run id %q", id)
	}
	return nil
}

func checkStrings(cmd *command) error {
	for _, arg := range cmd.argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return startErrorf(fmt.Sprintf("run %q", cmd.argv[0]), "an argument contains a NUL byte")
		}
	}
	for _, entry := range cmd.env {
		if strings.IndexByte(entry, 0) >= 0 {
			name, _, _ := strings.Cut(entry, "=")
			return startErrorf(fmt.Sprintf("run %q", cmd.argv[0]), "the variable %q contains a NUL byte", name)
		}
	}
	if strings.IndexByte(cmd.dir, 0) >= 0 {
		return startErrorf("enter directory", "its name contains a NUL byte")
	}
	return nil
}

func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	op := fmt.Sprintf("enter directory %q", dir)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return startErrorf(op, "%w", plainError{"no such directory", err})
	case err != nil:
		return startErrorf(op, "%w", rootCause(err))
	case !info.IsDir():
		return startErrorf(op, "it is not a directory")
	}
	return nil
}

func rootCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// busyWait is how long Start goes on trying to execute a file that somebody has open for writing. A script that was just written is in this state while another
// fork in this process, between its fork and its exec, still has a copy of the writer's descriptor.
const busyWait = 500 * time.Millisecond

// forkExec is syscall.ForkExec that waits out ETXTBSY.
func forkExec(cmd *command, attr *syscall.ProcAttr) (pid int, err error) {
	pause := time.Millisecond
	for deadline := time.Now().Add(busyWait); ; pause *= 2 {
		pid, err = syscall.ForkExec(cmd.path, cmd.argv, attr)
		if err != syscall.ETXTBSY || time.Now().After(deadline) {
			return pid, err
		}
		time.Sleep(pause)
	}
}

// explain turns what fork and exec said into words. The kernel gives one number for chdir, setuid and exec, so the likely causes are looked at again.
func explain(cmd *command, err error) *StartError {
	op := fmt.Sprintf("run %q", cmd.argv[0])
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case syscall.E2BIG:
		size := 0
		for _, s := range cmd.argv {
			size += len(s) + 1
		}
		for _, s := range cmd.env {
			size += len(s) + 1
		}
		return startErrorf(op, "%w", plainError{fmt.Sprintf("arguments too long: arguments and environment have %d bytes", size), err})
	case syscall.EPERM:
		if cmd.who.cred != nil {
			return startErrorf(fmt.Sprintf("run as user %q", cmd.who.name), "%w", plainError{fmt.Sprintf("not permitted: the runner runs as user %d", os.Geteuid()), err})
		}
	case syscall.EACCES:
		return explainDenied(cmd, err)
	case syscall.ENOENT:
		var noDir *StartError
		if errors.As(checkDir(cmd.dir), &noDir) {
			return noDir
		}
		if executable(cmd.path) == nil {
			return startErrorf(op, "%w", plainError{"no such interpreter: the file is there, but what its first line or its ELF header names is not", err})
		}
		return startErrorf(fmt.Sprintf("find program %q", cmd.argv[0]), "%w", errNoProgram)
	case syscall.ENOEXEC:
		return startErrorf(op, "%w", plainError{"not a program for this machine, nor a script with a #! line", err})
	case syscall.EAGAIN:
		return startErrorf(op, "%w", plainError{"too many processes", err})
	case syscall.EMFILE, syscall.ENFILE:
		return startErrorf(op, "%w", plainError{"too many open files", err})
	case syscall.ENOMEM:
		return startErrorf(op, "%w", plainError{"not enough memory", err})
	case syscall.ETXTBSY:
		return startErrorf(op, "%w", plainError{"the file is open for writing", err})
	}
	return startErrorf(op, "%w", err)
}

func explainDenied(cmd *command, err error) *StartError {
	as := ""
	if cmd.who.name != "" {
		as = fmt.Sprintf(" for user %s", cmd.who.name)
	}
	denied := plainError{"permission denied" + as, err}
	if cmd.dir != "" && !mayEnter(cmd.dir, cmd.who) {
		return startErrorf(fmt.Sprintf("enter directory %q", cmd.dir), "%w", denied)
	}
	return startErrorf(fmt.Sprintf("run %q", cmd.argv[0]), "%w", denied)
}
