package lang

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// Dirs are the directories of one run, absolute.
type Dirs struct {
	// Source has the program's files and is where both steps start.
	Source string
	// Out is what the compile step writes to and the run step reads.
	Out string
	// Cache is what {cache} stands for; CacheIsWarm says that it is a warm
	// directory, which must be shown and not be written to.
	Cache       string
	CacheIsWarm bool
}

// Step is one process of a program. Whoever starts it adds the run's id,
// account, isolation, input and parameters, and may know better limits.
type Step struct {
	Spec        sandbox.Spec
	OutputBytes int64
	WallTime    time.Duration
}

// scratchBytes is what a strict step may write in the program's directory; all
// of it is forgotten.
const scratchBytes = 256 << 20

// IsCompiled says whether there is a compile step.
func (p *Program) IsCompiled() bool { return len(p.tool.Compile) > 0 }

// CompileStep compiles the program in dirs.Source into dirs.Out.
func (p *Program) CompileStep(dirs Dirs) Step {
	step := p.step(p.tool.Compile, dirs, p.tool.Limits.Compile, compileLimits)
	step.Spec.Writable = []string{dirs.Out}
	if dirs.CacheIsWarm {
		step.Spec.ReadOnly = append(step.Spec.ReadOnly, dirs.Cache)
	}
	return step
}

// RunStep runs the program.
func (p *Program) RunStep(dirs Dirs) Step {
	step := p.step(p.tool.Run, dirs, p.tool.Limits.Run, runLimits)
	step.Spec.Argv = append(step.Spec.Argv, p.args...)
	if p.IsCompiled() {
		step.Spec.ReadOnly = append(step.Spec.ReadOnly, dirs.Out)
	}
	return step
}

func (p *Program) step(argv []string, dirs Dirs, own limits.Set, byDefault limits.Text) Step {
	usual, _ := byDefault.Parse() // they are constants
	held := own.Over(usual)
	step := Step{OutputBytes: held.Bytes(limits.OutputBytes), WallTime: held.Duration(limits.WallTime)}
	words := p.words(dirs)
	step.Spec = sandbox.Spec{
		Argv: p.expand(argv, words), Dir: dirs.Source, Limits: held,
		ReadOnly: slices.Concat(p.tool.Show, p.tool.own), ScratchBytes: scratchBytes,
	}
	for name, value := range p.tool.Env {
		step.Spec.Params = append(step.Spec.Params, name+"="+words.Replace(value))
	}
	slices.Sort(step.Spec.Params)
	return step
}

// words replaces what stands for what in a command line.
func (p *Program) words(dirs Dirs) *strings.Replacer {
	return p.tool.words(dirs, "{source}", p.names[0], "{stem}", stem(p.names[0]))
}

func (t *Toolchain) words(dirs Dirs, more ...string) *strings.Replacer {
	home := ""
	if len(t.Show) > 0 {
		home = t.Show[0]
	}
	return strings.NewReplacer(append(more, "{program}", t.Path, "{home}", home, "{dir}", dirs.Source, "{out}", dirs.Out, "{cache}", dirs.Cache)...)
}

func (p *Program) expand(argv []string, words *strings.Replacer) (full []string) {
	for _, word := range argv {
		if word == "{sources}" {
			full = append(full, p.sources()...)
			continue
		}
		full = append(full, words.Replace(word))
	}
	return full
}

// sources are the files beside the first one with its extension, that one first.
func (p *Program) sources() (names []string) {
	for _, name := range p.names {
		if path.Dir(name) == path.Dir(p.names[0]) && path.Ext(name) == path.Ext(p.names[0]) {
			names = append(names, name)
		}
	}
	return names
}

func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }
