package run

import (
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
)

// bounds is what a process is held to: by the host (sandbox.Limits), and by
// this package, which counts its output and looks at the clock.
type bounds struct {
	limits      sandbox.Limits
	outputBytes int64         // 0: not bounded
	wallTime    time.Duration // 0: not bounded
}

// boundsOf reads a task's limits. Bad values are the request's fault.
func boundsOf(l *pb.Limits) (b bounds, err error) {
	if l == nil {
		return bounds{}, nil
	}
	text := sandbox.LimitsText{
		CPUMax: l.GetCpuMax(), IOMax: l.GetIoMax(), CPUTime: l.GetCpuTime(),
		PidsMax: count(l.PidsMax), CPUWeight: count(l.CpuWeight), OpenFiles: count(l.OpenFiles), Nproc: count(l.Nproc),
	}
	outputBytes := ""
	for _, size := range []struct {
		name  string
		value *structpb.Value
		text  *string
	}{
		{"memoryMax", l.GetMemoryMax(), &text.MemoryMax}, {"fileSize", l.GetFileSize(), &text.FileSize},
		{"stack", l.GetStack(), &text.Stack}, {"core", l.GetCore(), &text.Core}, {"outputBytes", l.GetOutputBytes(), &outputBytes},
	} {
		if *size.text, err = sizeText(size.value); err != nil {
			return bounds{}, pb.Invalid("spec.task.limits.%s: %s", size.name, err)
		}
	}
	if b.limits, err = sandbox.ParseLimits(text); err != nil {
		return bounds{}, pb.Invalid("spec.task.%s", err)
	}
	if outputBytes != "" {
		b.outputBytes, err = sandbox.ParseBytes(outputBytes)
		if err != nil || b.outputBytes == 0 {
			return bounds{}, pb.Invalid("spec.task.limits.outputBytes: %q is not a size of at least one byte", outputBytes)
		}
	}
	b.wallTime, err = pb.Duration("spec.task.limits.wallTime", l.GetWallTime(), 0)
	if err == nil && l.GetWallTime() != "" && b.wallTime == 0 {
		err = pb.Invalid("spec.task.limits.wallTime: %q must be more than 0", l.GetWallTime())
	}
	return b, err
}

// count is empty for a number that nobody named.
func count(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// controllerOf says which cgroup controller a limit needs.
var controllerOf = map[string]string{"cpuMax": "cpu", "cpuWeight": "cpu", "memoryMax": "memory", "ioMax": "io", "pidsMax": "pids"}

// Holds says whether this host can hold a run to a limit, by its name in a task.
func (r *Runner) Holds(limit string) bool {
	controller := controllerOf[limit]
	return controller == "" || slices.Contains(r.cfg.Host.Facts().Controllers, controller)
}

// sizeText is a size as sandbox.ParseBytes reads it; empty if there is none.
func sizeText(v *structpb.Value) (string, error) {
	switch kind := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return "", nil
	case *structpb.Value_StringValue:
		return kind.StringValue, nil
	case *structpb.Value_NumberValue:
		n := kind.NumberValue
		if n >= 0 && n < math.MaxInt64 && n == math.Trunc(n) {
			return strconv.FormatInt(int64(n), 10), nil
		}
		return "", pb.Invalid("%v is not a number of bytes", n)
	}
	return "", pb.Invalid("it must be a number of bytes or a string such as \"64M\"")
}

// shorter of two times of which 0 means none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// under lays a task's bounds over those of a language: what the task names counts.
func (b bounds) under(task bounds) bounds {
	l, t := &b.limits, task.limits
	if t.CPU != (sandbox.CPUMax{}) {
		l.CPU = t.CPU
	}
	if t.CPUWeight != 0 {
		l.CPUWeight = t.CPUWeight
	}
	if t.MemoryMaxBytes != 0 {
		l.MemoryMaxBytes = t.MemoryMaxBytes
	}
	if len(t.IO) > 0 {
		l.IO = t.IO
	}
	if t.PidsMax != 0 {
		l.PidsMax = t.PidsMax
	}
	for _, rlimit := range t.Rlimits {
		others := slices.DeleteFunc(slices.Clone(l.Rlimits), func(r sandbox.Rlimit) bool { return r.Resource == rlimit.Resource })
		l.Rlimits = append(others, rlimit)
	}
	if task.outputBytes != 0 {
		b.outputBytes = task.outputBytes
	}
	if task.wallTime != 0 {
		b.wallTime = task.wallTime
	}
	return b
}

// possible leaves out of limits that nobody asked for what the host can't hold
// a run to. Without a memory controller, each process is held to the memory that
// the run should be.
func (b bounds) possible(h *sandbox.Host) bounds {
	all := b.limits
	b.limits = sandbox.Limits{}
	if all.MemoryMaxBytes > 0 && h.Check(sandbox.Limits{MemoryMaxBytes: all.MemoryMaxBytes}, sandbox.None) != nil {
		all.Rlimits = append(all.Rlimits[:len(all.Rlimits):len(all.Rlimits)], sandbox.Rlimit{Resource: "data", Max: uint64(all.MemoryMaxBytes)})
	}
	for _, one := range []sandbox.Limits{
		{CPU: all.CPU}, {CPUWeight: all.CPUWeight}, {MemoryMaxBytes: all.MemoryMaxBytes}, {PidsMax: all.PidsMax}, {IO: all.IO}, {Rlimits: all.Rlimits},
	} {
		if h.Check(one, sandbox.None) == nil {
			b = b.under(bounds{limits: one})
		}
	}
	return b
}
