package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// clockCommand is `runnel maint clock`.
type clockCommand struct {
	*app
	where            targetFlags
	fan              fanFlags
	ntp, sync, force bool
	time             string
	json             bool
}

func newMaintCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "maint",
		GroupID: groupFleet,
		Short:   "Keep hosts right: their clocks",
		Example: "  runnel maint clock --all\n  runnel maint clock --all --ntp\n  runnel maint clock --on web2 --ntp --sync",
		Args:    knownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMaintClockCommand(a))
	return cmd
}

func newMaintClockCommand(a *app) *cobra.Command {
	c := &clockCommand{app: a}
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Compare clocks with this one, with NTP or a time, and set them",
		Example: `  runnel maint clock --all                   against this host's clock
  runnel maint clock --all --ntp             each against its NTP servers
  runnel maint clock --on web2 --ntp --sync  set it, and verify`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSession(cmd.Context(), func(s *session) error { return c.run(cmd.Context(), s) })
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.ntp, "ntp", false, "compare with the NTP servers that the runner is configured with")
	flags.StringVar(&c.time, "time", "", "compare with this `TIME`: RFC 3339 or Unix seconds (default: this host's clock)")
	flags.BoolVar(&c.sync, "sync", false, "set the clock by NTP, and verify")
	flags.BoolVar(&c.force, "force", false, "with --sync: even if a daemon keeps the clock")
	groupFlags(flags, flagsWhat, "ntp", "time", "sync", "force")
	c.where.add(cmd)
	c.fan.add(cmd)
	flags.BoolVar(&c.json, "json", false, "the replies, one JSON object a line")
	groupFlags(flags, flagsOutput, "json")
	return cmd
}

func (c *clockCommand) run(ctx context.Context, s *session) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	if !c.where.All {
		reply, clock, err := s.Clock(ctx, c.where.Target, query)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(reply)
		}
		return c.table([]client.Clock{clock})
	}
	opts, done := c.fanProgress(c.fan.FanOptions)
	result, clocks, err := s.ClockAll(ctx, c.where.Target, query, opts)
	done()
	if err != nil {
		return err
	}
	if c.json {
		return errors.Join(c.printAnswers(result), c.sayFan(result))
	}
	if err := c.table(clocks); err != nil {
		return err
	}
	return c.sayFan(result)
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

// table has the worst clocks last, where they stand above the prompt.
func (c *clockCommand) table(clocks []client.Clock) error {
	slices.SortFunc(clocks, func(a, b client.Clock) int {
		return cmp.Or(cmp.Compare(math.Abs(a.Offset), math.Abs(b.Offset)), cmp.Compare(a.Runner, b.Runner))
	})
	if len(clocks) == 0 {
		return nil
	}
	table := newColumns(c.look, "runner", "offset", "±", "status", "server", "kernel")
	for _, k := range clocks {
		if k.Reply.GetClock().GetDiff() == nil || k.Err != nil && k.Reply.GetClock().GetDiff().GetDangerous() && k.Reply.GetClock().GetDiff().GetTime() == 0 {
			table.add(k.Runner, "-", "-", painted{red, "unknown"}, "-", kernelText(k.Reply.GetClock().GetKernel()))
			continue
		}
		offset := any(offsetText(k.Offset))
		if k.Dangerous() {
			offset = painted{red, offsetText(k.Offset) + "!"}
		}
		table.add(k.Runner, offset, offsetText(k.Uncertainty)[1:], c.status(k.Reply.GetClock()), dash(k.Reply.GetClock().GetServer()), kernelText(k.Reply.GetClock().GetKernel()))
	}
	if err := table.write(c.out); err != nil {
		return err
	}
	for _, k := range clocks {
		if text := k.Reply.GetError(); text != "" {
			c.say("%s: %s", k.Runner, text)
		}
	}
	return nil
}

func (c *clockCommand) status(clock *pb.ClockReply) any {
	switch sync := clock.GetSync(); sync.GetStatus() {
	case 0:
		text := "synchronised"
		if sync.GetSlewing() {
			text = fmt.Sprintf("slewing, %s left", offsetText(sync.GetRemaining())[1:])
		} else if sync.GetAction() != "" {
			text += " by " + sync.GetAction()
		}
		return painted{green, text}
	case 1:
		return painted{red, "not synchronised"}
	case 2:
		return painted{yellow, "indeterminate"}
	}
	return "not checked"
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

// offsetText is "+0.2ms" or "-7.21s".
func offsetText(ms float64) string {
	switch abs := math.Abs(ms); {
	case abs < 1000:
		return fmt.Sprintf("%+.1fms", ms)
	case abs < 3600_000:
		return fmt.Sprintf("%+.2fs", ms/1000)
	}
	sign := "+"
	if ms < 0 {
		sign = "-"
	}
	return sign + shortDuration(time.Duration(math.Abs(ms))*time.Millisecond)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
