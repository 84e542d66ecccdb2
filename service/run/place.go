package run

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/sandbox"
)

// place is a directory of one run's own on the host, gone after it. Nobody but
// the runner and, without isolation, the run's account gets into it. An isolated
// run is shown folders inside it, so that their own rights may be wide: as root,
// the account is one that is only known once the run has begun.
type place struct {
	dir      string
	user     string // without isolation: whose it is; empty: the runner's own
	isolated bool
}

// isolatedBase is where the place of an isolated run is: each has a /tmp of its
// own, in which it sees nothing but what it is shown.
const isolatedBase = "/tmp"

func (a *active) newPlace() (*place, error) {
	p := &place{isolated: a.terms.isolation != sandbox.None}
	base := ""
	if p.isolated {
		base = isolatedBase
	} else {
		p.user = a.task.GetUser()
	}
	var err error
	if p.dir, err = os.MkdirTemp(base, a.r.tempPrefix()+"*"); err != nil {
		return nil, fmt.Errorf("cannot make the run's directory: %w", err)
	}
	if err := p.give(p.dir); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

func (p *place) remove() { _ = lang.RemoveTree(p.dir) } // what is left, the next start removes

// give makes files the account's of a run that is not isolated.
func (p *place) give(paths ...string) error {
	if p.user == "" {
		return nil
	}
	return sandbox.Chown(p.user, paths...)
}

// folder makes one, for the run to read or to write in.
func (p *place) folder(name string, writable bool) (string, error) {
	path, mode := filepath.Join(p.dir, name), os.FileMode(0o700)
	switch {
	case p.isolated && writable:
		mode = 0o777
	case p.isolated:
		mode = 0o755
	}
	err := os.Mkdir(path, mode)
	if err == nil {
		err = os.Chmod(path, mode) // whatever the umask
	}
	if err != nil {
		return "", fmt.Errorf("cannot make the run's directory: %w", err)
	}
	return path, p.give(path)
}

// script writes a script and makes it what s executes.
func (p *place) script(s *sandbox.Spec, text []byte) error {
	const mode = 0o700
	dir := p.dir
	if p.isolated {
		var err error
		if dir, err = p.folder("script", false); err != nil {
			return err
		}
		s.ReadOnly = append(s.ReadOnly, dir)
	}
	path := filepath.Join(dir, "script")
	err := os.WriteFile(path, text, mode)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return fmt.Errorf("cannot write the script: %w", err)
	}
	s.Argv = append(pb.Interpreter(text), path)
	if p.isolated {
		s.Own = append(s.Own, path)
	}
	return p.give(path)
}

// tempPrefix begins the name of every temporary directory of this runner, so
// that the next life finds what this one left.
func (r *Runner) tempPrefix() string { return "runnel-" + r.cfg.Instance + "-" }

// removePlaces removes those that an earlier life left.
func (r *Runner) removePlaces() {
	for _, base := range []string{os.TempDir(), isolatedBase} {
		left, err := filepath.Glob(filepath.Join(base, r.tempPrefix()+"*"))
		if err != nil {
			continue
		}
		for _, dir := range left {
			_ = lang.RemoveTree(dir) // what can't be removed is no reason not to start
		}
	}
}
