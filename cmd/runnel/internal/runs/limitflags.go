package runs

import (
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/limits"
)

// limitFlags say what a run is held to and how far it is kept away from its
// host. There is one for each row of the table of limits.
type limitFlags struct {
	texts     map[string]*string // by the limit's name
	counts    map[string]*int64
	flags     *pflag.FlagSet
	isolation string
	network   bool
}

// add gives the flags to a command that runs something.
func (f *limitFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags, f.texts, f.counts = flags, map[string]*string{}, map[string]*int64{}
	flags.StringVar(&f.isolation, "isolation", "", "keep it away from the host: `LEVEL` none, standard or strict")
	flags.BoolVar(&f.network, "network", false, "give a strict run the host's network")
	cli.Group(flags, cli.FlagsLimits, "isolation", "network")
	cli.CompleteValues(cmd, "isolation", "none", "standard", "strict")
	for _, row := range limits.Rows() {
		if row.Kind == limits.Count {
			f.counts[row.Name] = flags.Int64(row.Flag, 0, row.Usage)
		} else {
			f.texts[row.Name] = flags.String(row.Flag, "", row.Usage)
		}
		cli.Group(flags, cli.FlagsLimits, row.Flag)
	}
}

// apply puts what was asked for into a task. A count may be 0, which the runner
// refuses by name.
func (f *limitFlags) apply(task *pb.Task) {
	task.Isolation, task.Network = f.isolation, f.network
	asked := &pb.Limits{}
	for _, row := range limits.Rows() {
		switch {
		case !f.flags.Changed(row.Flag):
			continue
		case row.Kind == limits.Count:
			asked.Name(row.Name, strconv.FormatInt(*f.counts[row.Name], 10))
		default:
			asked.Name(row.Name, *f.texts[row.Name])
		}
		task.Limits = asked
	}
}
