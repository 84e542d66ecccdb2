package run

import (
	"fmt"
	"path/filepath"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
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
	if source.Main, err = t.GetFile().Bytes(); err != nil {
		return nil, err
	}
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
func (j *job) executeProgram(log *logs.Writer) ending {
	place, err := j.newPlace()
	if err != nil {
		return ending{state: pb.State_FAILED, reason: pb.ReasonRejected, err: err.Error()}
	}
	defer place.remove()
	dirs, err := j.layOut(place)
	if err != nil {
		return ending{state: pb.State_FAILED, reason: pb.ReasonRejected, err: err.Error()}
	}
	var compiled *pb.Step
	if j.plan.program.IsCompiled() {
		e := j.compile(place, dirs, log)
		if !e.isGood() {
			return e
		}
		compiled = e.compile
	}
	step := j.plan.program.RunStep(dirs)
	spec, b := j.stepSpec(step)
	b = b.under(j.plan.bounds)
	spec.Limits = b.limits
	spec.Params = append(spec.Params, j.spec().Params...)
	spec.Stdin = j.task.GetStdin()
	e := j.process(activity{
		prepare: func() start { return j.startOf(spec) },
		out:     j.output(log, b.outputBytes, j.end), quiet: log.Quiet,
		wallTime: b.wallTime, end: j.end,
	})
	e.compile = compiled
	return e
}

// layOut makes the directories of a program and writes its files.
func (j *job) layOut(p *place) (dirs lang.Dirs, err error) {
	if dirs.Source, err = p.folder("program", true); err != nil {
		return dirs, err
	}
	if j.plan.program.IsCompiled() {
		if dirs.Out, err = p.folder("out", true); err != nil {
			return dirs, err
		}
	}
	dirs.Cache = filepath.Join(dirs.Source, ".cache") // unless there is a warm one
	return dirs, j.plan.program.Write(dirs.Source)
}

// stepSpec is a step as a process of this run, with the bounds that it has by
// itself as far as this host can hold them.
func (j *job) stepSpec(step lang.Step) (sandbox.Spec, bounds) {
	s, own := j.spec(), step.Spec
	s.Argv, s.Dir, s.ReadOnly, s.Writable = own.Argv, own.Dir, own.ReadOnly, own.Writable
	s.ScratchBytes = own.ScratchBytes
	s.Params, s.Stdin = own.Params, nil
	if j.plan.isolation != sandbox.None {
		s.Params = append([]string{"HOME=/tmp"}, s.Params...)
	}
	b := bounds{own.Limits, step.OutputBytes, step.WallTime}.possible(j.r.cfg.Host)
	s.Limits = b.limits
	return s, b
}
