package run

import (
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// bounds is what a process is held to: by the host, and by this package, which
// counts its output and looks at the clock.
type bounds struct {
	limits      limits.Set
	outputBytes int64         // 0: not bounded
	wallTime    time.Duration // 0: not bounded
}

// boundsOf reads a task's limits. Bad values are the request's fault.
func boundsOf(l *pb.Limits) (bounds, error) {
	named, err := l.Named()
	if err != nil {
		return bounds{}, err
	}
	set, err := limits.Text(named).Parse()
	if err != nil {
		return bounds{}, pb.Invalid("spec.task.%s", err)
	}
	return boundsIn(set), nil
}

func boundsIn(set limits.Set) bounds {
	return bounds{set, set.Bytes(limits.OutputBytes), set.Duration(limits.WallTime)}
}

// compilerBounds are those that a task names for its compiler.
func compilerBounds(l *pb.Language) (limits.Set, error) {
	memory, err := l.CompileMemory()
	if err != nil {
		return nil, err
	}
	all := limits.Set{}
	for _, bound := range []struct{ field, limit, text string }{
		{"compileMemoryMax", limits.MemoryMax, memory},
		{"compileWallTime", limits.WallTime, l.GetCompileWallTime()},
		{"compileCpuTime", limits.CPUTime, l.GetCompileCpuTime()},
	} {
		if bound.text == "" {
			continue
		}
		set, err := limits.Text{bound.limit: bound.text}.Parse()
		if err != nil {
			return nil, pb.Invalid("spec.task.language.%s: %s", bound.field, err)
		}
		all = set.Over(all)
	}
	return all, nil
}

// Holds says whether this host can hold a run to a limit, by its name in a task.
func (r *Runner) Holds(limit string) bool { return r.cfg.Host.Holds(limit) }

// under lays a task's bounds over those of a language: what the task names counts.
func (b bounds) under(task bounds) bounds { return boundsIn(task.limits.Over(b.limits)) }

// possible leaves out of limits that nobody asked for what the host can't hold
// a run to.
func (b bounds) possible(h *sandbox.Host) bounds { return boundsIn(b.limits.Only(h.Holds)) }
