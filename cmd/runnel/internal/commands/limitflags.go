package commands

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
)

// limitFlags say what a run is held to and how far it is kept away from its
// host.
type limitFlags struct {
	limits    pb.Limits
	sizes     [5]string // as they are written
	counts    [4]int64
	flags     *pflag.FlagSet
	isolation string
	network   bool
}

// sizeFlags are the limits that are sizes, with their fields.
var sizeFlags = [...]struct {
	name, usage string
	field       func(*pb.Limits) **structpb.Value
}{
	{"memory-max", "memory: `BYTES`, or 64M; more ends the run, out of memory", func(l *pb.Limits) **structpb.Value { return &l.MemoryMax }},
	{"output-bytes", "output: `BYTES`, or 64M; more ends the run", func(l *pb.Limits) **structpb.Value { return &l.OutputBytes }},
	{"file-size", "a file that it writes: `BYTES`, or 64M", func(l *pb.Limits) **structpb.Value { return &l.FileSize }},
	{"stack", "a stack: `BYTES`, or 8M", func(l *pb.Limits) **structpb.Value { return &l.Stack }},
	{"core", "a core dump: `BYTES`, or 64M", func(l *pb.Limits) **structpb.Value { return &l.Core }},
}

// countFlags are the limits that are numbers, 0 among them.
var countFlags = [...]struct {
	name, usage string
	field       func(*pb.Limits) **int64
}{
	{"cpu-weight", "its share among others: `N` from 1 to 10000", func(l *pb.Limits) **int64 { return &l.CpuWeight }},
	{"pids-max", "processes and threads: `N`", func(l *pb.Limits) **int64 { return &l.PidsMax }},
	{"open-files", "open files of a process: `N`", func(l *pb.Limits) **int64 { return &l.OpenFiles }},
	{"nproc", "processes of its account: `N`", func(l *pb.Limits) **int64 { return &l.Nproc }},
}

// add gives the flags to a command that runs something.
func (f *limitFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringVar(&f.isolation, "isolation", "", "keep it away from the host: `LEVEL` none, standard or strict")
	flags.BoolVar(&f.network, "network", false, "give the host's network back to a strict run")
	flags.StringVar(&f.limits.CpuMax, "cpu-max", "", "processor time: `\"QUOTA PERIOD\"` in microseconds, such as \"50000 100000\"")
	flags.StringVar(&f.limits.IoMax, "io-max", "", "what it does to a disk: `\"8:16 wbps=1048576\"`")
	flags.StringVar(&f.limits.CpuTime, "cpu-time", "", "processor time of a process: `DURATION`")
	flags.StringVar(&f.limits.WallTime, "wall-time", "", "time: `DURATION`; the shorter of this and --timeout counts")
	cli.Group(flags, cli.FlagsLimits, "isolation", "network", "cpu-max", "io-max", "cpu-time", "wall-time")
	cli.CompleteValues(cmd, "isolation", "none", "standard", "strict")
	for i, count := range countFlags {
		flags.Int64Var(&f.counts[i], count.name, 0, count.usage)
		cli.Group(flags, cli.FlagsLimits, count.name)
	}
	for i, size := range sizeFlags {
		flags.StringVar(&f.sizes[i], size.name, "", size.usage)
		cli.Group(flags, cli.FlagsLimits, size.name)
	}
}

// apply puts what was asked for into a task.
func (f *limitFlags) apply(task *pb.Task) {
	task.Isolation, task.Network = f.isolation, f.network
	for i, size := range sizeFlags {
		if f.sizes[i] != "" {
			*size.field(&f.limits) = structpb.NewStringValue(f.sizes[i])
		}
	}
	for i, count := range countFlags {
		if f.flags.Changed(count.name) {
			*count.field(&f.limits) = &f.counts[i]
		}
	}
	if f.limits.String() != "" {
		task.Limits = &f.limits
	}
}
