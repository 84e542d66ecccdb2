package hosts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// clockCommand is `runnel maint clock`.
type clockCommand struct {
	*app.App
	where            app.TargetFlags
	fan              app.FanFlags
	ntp, sync, force bool
	time             string
	json             bool
}

func newMaintCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "maint",
		GroupID: cli.GroupFleet,
		Short:   "Maintain hosts: their clocks",
		Example: "  runnel maint clock --all\n  runnel maint clock --all --ntp\n  runnel maint clock --on web2 --ntp --sync",
		Args:    cli.KnownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMaintClockCommand(a))
	return cmd
}

func newMaintClockCommand(a *app.App) *cobra.Command {
	c := &clockCommand{App: a}
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Compare clocks with this one, with NTP or a time, and set them",
		Example: `  runnel maint clock --all                   against this host's clock
  runnel maint clock --all --ntp             each against its NTP servers
  runnel maint clock --on web2 --ntp --sync  set it, and verify`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.force && !c.sync {
				return errors.New("--force goes with --sync")
			}
			if err := c.fan.Check(c.where.Target); err != nil {
				return err
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return c.run(ctx, s) })
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.ntp, "ntp", false, "compare with the NTP servers that the runner is configured with")
	flags.StringVar(&c.time, "time", "", "compare with this `TIME`: RFC 3339 or Unix seconds (default: this host's clock)")
	flags.BoolVar(&c.sync, "sync", false, "set the clock by NTP, and verify")
	flags.BoolVar(&c.force, "force", false, "with --sync: even if a daemon keeps the clock")
	cli.Group(flags, cli.FlagsWhat, "ntp", "time", "sync", "force")
	c.where.Add(a, cmd)
	c.fan.Add(cmd)
	flags.BoolVar(&c.json, "json", false, "the replies, one JSON object a line")
	cli.Group(flags, cli.FlagsOutput, "json")
	return cmd
}

func (c *clockCommand) run(ctx context.Context, s *app.Session) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	if !c.where.All {
		reply, clock, err := s.Clock(ctx, c.where.Target, query)
		if err != nil {
			return err
		}
		show := func() error { return c.table([]client.Clock{clock}) }
		if c.json {
			show = func() error { return c.PrintJSON(reply) }
		}
		if err := show(); err != nil {
			return err
		}
		if c.sync && reply.GetClock().GetSync().GetStatus() != 0 {
			return &cli.ExitError{Code: 1}
		}
		return nil
	}
	opts, done := c.FanProgress(c.fan.FanOptions)
	result, clocks, err := s.ClockAll(ctx, c.where.Target, query, opts)
	done()
	if err != nil {
		return err
	}
	if c.json {
		slices.SortFunc(clocks, byOffset)
		names := make([]string, 0, len(clocks))
		for _, clock := range clocks {
			names = append(names, clock.Runner)
		}
		others := slices.DeleteFunc(slices.Clone(result.Failed), func(name string) bool { return slices.Contains(names, name) })
		return errors.Join(app.PrintReplies(c.App, result, names, others), c.PrintLists(&result.FanLists), c.SayFan(&result.FanLists))
	}
	if err := c.table(clocks); err != nil {
		return err
	}
	return c.SayFan(&result.FanLists)
}

// query is the question; without a time it is a comparison with this host's
// clock, which the client does with the travel time taken off.
func (c *clockCommand) query() (*pb.ClockQuery, error) {
	q := &pb.ClockQuery{Ntp: c.ntp || c.sync && c.time == "", Sync: c.sync, Force: c.force}
	if c.time == "" {
		return q, nil
	}
	if c.ntp {
		return nil, errors.New("cannot compare with both --ntp and --time")
	}
	if seconds, err := strconv.ParseInt(c.time, 10, 64); err == nil {
		if seconds <= 0 {
			return nil, fmt.Errorf("invalid clock time: --time %d: it is Unix seconds, 1 or more", seconds)
		}
		q.Time = seconds
		return q, nil
	}
	t, err := time.Parse(time.RFC3339Nano, c.time)
	if err != nil {
		return nil, fmt.Errorf("cannot use --time %q: it is RFC 3339, such as 2006-01-02T15:04:05Z, or Unix seconds", c.time)
	}
	q.TimeNanos = t.UnixNano()
	return q, nil
}

// byOffset has the worst clocks last, and those that nothing is known of after them.
func byOffset(a, b client.Clock) int {
	if unknown(a) != unknown(b) {
		return map[bool]int{true: 1, false: -1}[unknown(a)]
	}
	return cmp.Or(cmp.Compare(math.Abs(a.Offset), math.Abs(b.Offset)), cmp.Compare(a.Runner, b.Runner))
}

// table has the worst clocks last, where they stand above the prompt. Without
// NTP there is no server and no status to tell of.
func (c *clockCommand) table(clocks []client.Clock) error {
	slices.SortFunc(clocks, byOffset)
	if len(clocks) == 0 {
		return nil
	}
	headings := []string{"runner", "offset", "±", "kernel", "kept by"}
	if c.ntp || c.sync {
		headings = []string{"runner", "offset", "±", "status", "server", "kernel", "kept by"}
	}
	table := term.NewTable(c.Look, headings...)
	table.AlignRight("offset", "±")
	table.GiveWay("server", "runner", "status")
	for _, k := range clocks {
		clock := k.Reply.GetClock()
		offset, uncertainty := any(offsetText(k.Offset)), offsetText(k.Uncertainty)[1:]
		switch {
		case unknown(k):
			offset, uncertainty = "-", "-"
		case k.Dangerous():
			offset = term.Painted{Colour: term.Red, Text: offsetText(k.Offset) + "!"}
		}
		if k.Uncertainty == 0 {
			uncertainty = "-" // by the caller's time, whatever that is worth
		}
		kernel, keeper := kernelText(clock.GetKernel()), term.Dash(clock.GetDaemon())
		if len(headings) == 5 {
			table.Add(k.Runner, offset, uncertainty, kernel, keeper)
		} else {
			table.Add(k.Runner, offset, uncertainty, c.status(k), term.Dash(clock.GetServer()), kernel, keeper)
		}
	}
	if err := table.Write(c.Out); err != nil {
		return err
	}
	for _, k := range clocks {
		if wrong := k.Reply.GetClock().GetFalsetickers(); len(wrong) > 0 {
			c.Say("%s: not believed, because most others contradict: %s", k.Runner, term.Printable(strings.Join(wrong, ", ")))
		}
		if text := k.Reply.GetError(); text != "" && k.Err == nil { // else the sum has it
			c.Say("%s: %s", k.Runner, term.Printable(text))
		}
	}
	return nil
}

// unknown: nothing was there to compare this clock with.
func unknown(k client.Clock) bool {
	diff := k.Reply.GetClock().GetDiff()
	return diff == nil || k.Err != nil && diff.GetDangerous() && diff.GetTime() == 0
}

// goodOffset is how far off, in milliseconds, a clock may be that is called
// synchronised: what maint itself goes by.
const goodOffset = 100

// status is how the sync ended or, where nobody asked for one, what the
// comparison says.
func (c *clockCommand) status(k client.Clock) any {
	sync := k.Reply.GetClock().GetSync()
	switch {
	case unknown(k):
		return term.Painted{Colour: term.Red, Text: "unknown"}
	case sync.GetStatus() == 3 && math.Abs(k.Offset) <= max(k.Uncertainty, goodOffset):
		return term.Painted{Colour: term.Green, Text: "synchronised"}
	case sync.GetStatus() == 3, sync.GetStatus() == 1:
		return term.Painted{Colour: term.Red, Text: "not synced"}
	case sync.GetStatus() == 2:
		return term.Painted{Colour: term.Yellow, Text: "indeterminate"}
	}
	text := "synchronised"
	switch {
	case sync.GetSlewing():
		text = fmt.Sprintf("slewing, %s left", offsetText(sync.GetRemaining())[1:])
	case sync.GetAction() == "step", sync.GetAction() == "slew":
		text += " by a " + sync.GetAction()
	}
	return term.Painted{Colour: term.Green, Text: text}
}

func kernelText(k *pb.KernelClock) string {
	switch {
	case k.GetState() == "":
		return "-"
	case k.GetState() == "synchronised" && k.GetMode() != "":
		return k.GetMode()
	}
	return k.GetState()
}

// offsetText is "+0.2ms" or "-7.21s"; what rounds to nothing has no minus.
func offsetText(ms float64) string {
	switch abs := math.Abs(ms); {
	case abs < 1000:
		return fmt.Sprintf("%+.1fms", math.Round(ms*10)/10+0)
	case abs < 3600_000:
		return fmt.Sprintf("%+.2fs", ms/1000)
	}
	sign := "+"
	if ms < 0 {
		sign = "-"
	}
	return sign + term.ShortDuration(time.Duration(math.Abs(ms))*time.Millisecond)
}
