package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
)

// plan is what a task asks for, read once before its record is made, so that
// what the request alone shows to be wrong is refused and not a failed run.
type plan struct {
	params                  []string
	script                  []byte // of a file task
	timeout, grace, expires time.Duration
	outputBytes             int64
}

func planOf(t *pb.Task) (p plan, err error) {
	var errs [6]error
	p.params, errs[0] = pb.Environ(t.GetParams())
	p.timeout, errs[1] = pb.Duration("spec.task.timeout", t.GetTimeout(), 0)
	p.grace, errs[2] = pb.Duration("spec.task.grace", t.GetGrace(), pb.DefaultGrace)
	p.expires, errs[3] = pb.Duration("spec.task.expires", t.GetExpires(), 0)
	wall, err := pb.Duration("spec.task.limits.wallTime", t.GetLimits().GetWallTime(), 0)
	errs[4] = err
	p.outputBytes, errs[5] = sizeOf(t.GetLimits().GetOutputBytes())
	if err := errors.Join(errs[:]...); err != nil {
		return plan{}, err
	}
	if wall > 0 && (p.timeout == 0 || wall < p.timeout) {
		p.timeout = wall
	}
	if t.GetFile() != nil && t.GetLanguage() == nil {
		p.script, err = t.GetFile().Script()
	}
	return p, err
}

// sizeOf reads a limit that is bytes as a number, or a string such as "64M";
// 0 stands for none. The service has refused what is neither.
func sizeOf(v *structpb.Value) (int64, error) {
	if s := v.GetStringValue(); s != "" {
		return sandbox.ParseBytes(s)
	}
	return int64(v.GetNumberValue()), nil
}

// begin starts the process. cleanUp is never nil.
func (j *job) begin() (proc *sandbox.Process, cleanUp func(), err error) {
	argv, cleanUp, err := j.argv()
	if err != nil {
		return nil, cleanUp, err
	}
	proc, err = j.r.cfg.Host.Start(sandbox.Spec{
		ID: j.id, Argv: argv, Env: j.environ(), Params: j.plan.params,
		Dir: j.task.GetDir(), Stdin: j.task.GetStdin(), User: j.task.GetUser(),
	})
	return proc, cleanUp, err
}

// environ is the runner's own and, where the request had one, its trace context.
func (j *job) environ() []string {
	if trace := j.run.GetTraceparent(); trace != "" {
		return append(slices.Clip(j.r.cfg.Environ), "TRACEPARENT="+trace)
	}
	return j.r.cfg.Environ
}

func (j *job) argv() (argv []string, cleanUp func(), err error) {
	switch {
	case j.plan.script != nil:
		return j.scriptArgv()
	case len(j.task.GetCommands()) > 0:
		return []string{"bash", "-c", strings.Join(j.task.GetCommands(), " ")}, func() {}, nil
	}
	return j.task.GetArgv(), func() {}, nil
}

// scriptArgv writes the script to a file of its own, in a directory of its own
// that only the run's account can look into.
func (j *job) scriptArgv() ([]string, func(), error) {
	dir, err := os.MkdirTemp("", j.r.tempPrefix()+"*")
	if err != nil {
		return nil, func() {}, fmt.Errorf("cannot write the script: %w", err)
	}
	cleanUp := func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "script")
	if err := os.WriteFile(path, j.plan.script, 0o700); err != nil {
		return nil, cleanUp, fmt.Errorf("cannot write the script: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil { // whatever the umask
		return nil, cleanUp, fmt.Errorf("cannot write the script: %w", err)
	}
	if user := j.task.GetUser(); user != "" {
		if err := sandbox.Chown(user, dir, path); err != nil {
			return nil, cleanUp, err
		}
	}
	return append(pb.Interpreter(j.plan.script), path), cleanUp, nil
}

// tempPrefix begins the name of every temporary directory of this runner, so
// that the next life finds what this one left.
func (r *Runner) tempPrefix() string { return "runnel-" + r.cfg.Instance + "-" }

// logConfig is what every log of this runner has in common.
func (r *Runner) logConfig(run *pb.Run) logs.Config {
	return logs.Config{
		JS: r.cfg.JS, Stream: run.GetLogStream(), Subject: run.GetLogSubject(),
		SpoolPath: r.spoolPath(run.GetId()), SpoolMaxBytes: r.cfg.SpoolMaxBytes, Logger: r.log,
	}
}

// SpoolBytes is how much output waits on disk for NATS.
func (r *Runner) SpoolBytes() (total int64) {
	entries, err := os.ReadDir(filepath.Dir(r.spoolPath("x")))
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}

func (r *Runner) spoolPath(id string) string {
	return filepath.Join(r.cfg.DataDir, "spool", id)
}
