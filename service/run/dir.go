package run

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/workdir"
)

// isolatedBase is where the directory of an isolated run is: each has a /tmp of
// its own, in which it sees nothing but what it is shown.
const isolatedBase = "/tmp"

// newDir makes the run's directory. Nobody but the runner and, without
// isolation, the run's account gets into it. An isolated run is shown folders
// inside it, so that their own rights may be wide: as root, the account is one
// that is only known once the run has begun.
func (a *active) newDir() (*workdir.Dir, error) {
	base, user := os.TempDir(), a.task.GetUser()
	var owner *workdir.Owner
	if a.isIsolated() {
		base = isolatedBase
	} else if user != "" {
		uid, gid, err := sandbox.OwnerOf(user, a.ended)
		if err != nil {
			return nil, err
		}
		if uid != os.Geteuid() {
			owner = &workdir.Owner{UID: uid, GID: gid}
		}
	}
	return workdir.New(base, a.r.tempPrefix(), owner)
}

func (a *active) isIsolated() bool { return a.terms.isolation != sandbox.None }

// folderMode is that of a folder that the run reads, or writes to.
func (a *active) folderMode(writable bool) os.FileMode {
	switch {
	case a.isIsolated() && writable:
		return 0o777
	case a.isIsolated():
		return 0o755
	}
	return 0o700
}

// remove removes a run's directory.
func (a *active) remove(d *workdir.Dir) {
	if err := d.Remove(); err != nil { // the next start tries again
		a.r.log.Warn("cannot remove a run's directory", "run", a.id, "error", err)
	}
}

// fill makes what the task wants of its directory and gives it to the run.
func (a *active) fill(d *workdir.Dir, s *sandbox.Spec) error {
	if s.Dir == pb.OwnDir {
		s.Dir = "" // an isolated run is in a /tmp of its own
		if !a.isIsolated() {
			var err error
			if s.Dir, err = d.Folder("work", a.folderMode(true)); err != nil {
				return err
			}
		}
	}
	if a.task.GetFile() != nil {
		if err := a.writeScript(d, s); err != nil {
			return err
		}
	}
	return d.Give()
}

// writeScript writes the task's script and makes it what s executes.
func (a *active) writeScript(d *workdir.Dir, s *sandbox.Spec) error {
	name := "script"
	if a.isIsolated() {
		folder, err := d.Folder("script", a.folderMode(false))
		if err != nil {
			return err
		}
		s.ReadOnly = append(s.ReadOnly, folder)
		name = "script/script"
	}
	first := &pb.FirstLine{}
	path, err := d.Script(name, func(w io.Writer) error {
		return a.task.GetFile().Unpack(a.ended, io.MultiWriter(first, w))
	})
	if errors.Is(err, pb.ErrGivenUp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("cannot write the script: %w", err)
	}
	s.Argv = append(first.Interpreter(), path)
	if a.isIsolated() {
		s.Own = append(s.Own, path)
	}
	return nil
}

// tempPrefix begins the name of every temporary directory of this runner, so
// that the next life finds what this one left.
func (r *Runner) tempPrefix() string { return "runnel-" + r.cfg.Instance + "-" }

// removeDirs removes those that an earlier life left. What can't be removed is
// no reason not to start.
func (r *Runner) removeDirs() {
	bases := []string{isolatedBase}
	if temp := os.TempDir(); temp != isolatedBase {
		bases = append(bases, temp)
	}
	for _, base := range bases {
		if err := workdir.Sweep(base, r.tempPrefix()); err != nil {
			r.log.Warn("cannot remove what an earlier runner left", "directory", base, "error", err)
		}
	}
}
