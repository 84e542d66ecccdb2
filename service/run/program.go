package run

import (
	"fmt"
	"path"
	"path/filepath"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/workdir"
)

// programOf reads a task with a language.
func (r *Runner) programOf(t *pb.Task) (*lang.Program, error) {
	if t.GetDir() != "" {
		return nil, pb.Invalid("spec.task.dir doesn't go with language: a program has a directory of its own")
	}
	tool, err := r.cfg.Languages.Find(r.ctx, t.GetLanguage().GetName(), t.GetLanguage().GetVersion())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnable, err)
	}
	source := lang.Source{Args: t.GetArgv(), HasMain: t.GetFile() != nil}
	source.Main = t.GetFile().Unpack
	for _, f := range t.GetFiles() {
		source.Files = append(source.Files, lang.File{Name: f.GetName(), Content: f.GetContent(), Encoding: f.GetEncoding()})
	}
	p, err := tool.Program(source)
	if err != nil {
		return nil, pb.Invalid("spec.task.%s", err)
	}
	return p, nil
}

// executeProgram runs a program: two steps of one run, each with bounds of its
// own, under one log and one record.
func (a *active) executeProgram(log *logs.Writer) ending {
	dir, err := a.newDir()
	if err != nil {
		return ending{state: pb.State_FAILED, reason: pb.ReasonRejected, err: err.Error()}
	}
	defer a.remove(dir)
	dirs, err := a.layOut(dir, a.terms.program)
	if err != nil {
		return ending{state: pb.State_FAILED, reason: pb.ReasonRejected, err: err.Error()}
	}
	var compiled *pb.Step
	if a.terms.program.IsCompiled() {
		e := a.compile(dirs, log)
		if !e.isGood() {
			return e
		}
		compiled = e.compile
	}
	step := a.terms.program.RunStep(dirs)
	spec, b := a.specOf(step)
	b = b.under(a.terms.bounds)
	spec.Limits = b.limits
	spec.Params = append(spec.Params, a.spec().Params...)
	spec.Stdin = a.task.GetStdin()
	e := a.process(activity{
		prepare: func() start { return a.startOf(spec) },
		out:     a.output(log, b.outputBytes, a.end), quiet: log.Quiet,
		wallTime: b.wallTime, end: a.end,
	})
	e.compile = compiled
	return e
}

// layOut makes the directories of a program and writes its files.
func (a *active) layOut(d *workdir.Dir, program *lang.Program) (dirs lang.Dirs, err error) {
	const folder = "program"
	if dirs.Source, err = d.Folder(folder, a.folderMode(true)); err != nil {
		return dirs, err
	}
	if program.IsCompiled() {
		if dirs.Out, err = d.Folder("out", a.folderMode(true)); err != nil {
			return dirs, err
		}
	}
	dirs.Cache = filepath.Join(dirs.Source, ".cache") // unless there is a warm one
	err = program.Write(a.ended, func(name string, text lang.Text) error {
		return d.Source(path.Join(folder, name), workdir.Text(text))
	})
	if err != nil {
		return dirs, fmt.Errorf("cannot write the program: %w", err)
	}
	return dirs, d.Give()
}

// specOf is a step as a process of this run, with the bounds that it has by
// itself as far as this host can hold them.
func (a *active) specOf(step lang.Step) (sandbox.Spec, bounds) {
	s, own := a.spec(), step.Spec
	s.Argv, s.Dir, s.ReadOnly, s.Writable = own.Argv, own.Dir, own.ReadOnly, own.Writable
	s.ScratchBytes = own.ScratchBytes
	s.Params, s.Stdin = own.Params, nil
	if a.terms.isolation != sandbox.None {
		s.Params = append([]string{"HOME=/tmp"}, s.Params...)
	}
	b := boundsIn(own.Limits).possible(a.r.cfg.Host)
	s.Limits = b.limits
	return s, b
}
