// Package bench is `runnel bench`: what runs, output and queries cost on this
// machine, each beside a floor measured in the same minutes.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
)

// command is `runnel bench`: what a fleet's size is planned with, and our
// own yardstick. Every figure stands beside its floor: the same work without
// Runnel, done in the same process in the same minute, because on a shared
// machine only ratios last.
type command struct {
	*app.App
	only     []string
	isolated bool
	quick    bool
	json     bool
	markdown bool
	simulate int
	on       string

	rig    *rig
	client *client.Client
	target client.Target
}

// row is one line of the result. Value and Floor are in the unit.
type row struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	Floor float64 `json:"floor,omitempty"`
	// FloorIs says what the floor is; empty: there is none.
	FloorIs string `json:"floorIs,omitempty"`
	// Ratio is Value to Floor.
	Ratio float64 `json:"ratio,omitempty"`
	// Budget is for the ratio where there is a floor, else, or if OfValue, for the
	// value.
	Budget  float64 `json:"budget,omitempty"`
	OfValue bool    `json:"budgetOfValue,omitempty"`
	// Most: the budget is the most that is allowed; else the least that is asked.
	Most bool `json:"most"`
}

// met says whether a row is within its budget.
func (r row) met() bool {
	got := r.Value
	if r.budgetsRatio() {
		got = r.Ratio
	}
	switch {
	case r.Budget == 0:
		return true
	case r.Most:
		return got <= r.Budget
	}
	return got >= r.Budget
}

func (r row) budgetsRatio() bool { return r.FloorIs != "" && !r.OfValue }

// beside completes a row with its floor.
func (r row) beside(floor float64, is string) row {
	r.Floor, r.FloorIs = floor, is
	if floor > 0 {
		r.Ratio = r.Value / floor
	}
	return r
}

// part is a group of rows that are measured together.
type part struct {
	name    string
	measure func(*command, context.Context) ([]row, error)
}

// parts in the order in which they run: that of the idle runner while it is
// fresh, those that fill memory last.
var parts = []part{
	{"sleep", (*command).measureSleep},
	{"start", (*command).measureStart},
	{"rate", (*command).measureRate},
	{"first", (*command).measureFirst},
	{"isolation", (*command).measureIsolation},
	{"lag", (*command).measureLag},
	{"records", (*command).measureRecords},
	{"glance", (*command).measureGlance},
	{"fanout", (*command).measureFanOut},
	{"lines", (*command).measureLines},
	{"version", (*command).measureVersion},
	{"history", (*command).measureHistory},
}

// NewCommand is `runnel bench`.
func NewCommand(a *app.App) *cobra.Command {
	b := &command{App: a}
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	cmd := &cobra.Command{
		Use:     "bench",
		GroupID: cli.GroupOther,
		Short:   "Measure runs, output, glances and fan-outs against their floors",
		Long: `Measure runs, output, glances and fan-outs, each against its floor: the same work
without Runnel, in the same minute on the same machine. Without --server or a
context, the NATS server and a runner are started as processes of their own, and
ended with the command. Parts: ` + strings.Join(names, ", ") + `.`,
		Example: `  runnel bench                       everything, about two minutes
  runnel bench --only start,lines    two parts
  runnel bench --server nats://nats.example:4222 --on web1    a real cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&b.only, "only", nil, "only these `PARTS`")
	flags.BoolVar(&b.isolated, "isolation", false, "only the part isolation")
	flags.BoolVar(&b.quick, "quick", false, "a tenth of the work: for trying it out, not for figures")
	flags.IntVar(&b.simulate, "simulate", 1000, "`N` simulated runners for the fan-out")
	cli.Group(flags, cli.FlagsWhat, "only", "isolation", "quick", "simulate")
	flags.StringVar(&b.on, "on", "", "with --server: the `RUNNER` to measure")
	cli.Group(flags, cli.FlagsWhere, "on")
	flags.BoolVar(&b.json, "json", false, "one JSON object a line")
	flags.BoolVar(&b.markdown, "markdown", false, "a table for a README")
	cli.Group(flags, cli.FlagsOutput, "json", "markdown")
	cmd.AddCommand(newChildCommand(a), newServerCommand(a), newBareCommand(a))
	return cmd
}

func (b *command) run(ctx context.Context) (err error) {
	if b.isolated {
		b.only = append(b.only, "isolation")
	}
	for _, name := range b.only {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q (see runnel bench --help)", name)
		}
	}
	if (len(b.only) == 0 || slices.Contains(b.only, "fanout")) && !b.Conn.Explicit() {
		if err := app.CanSimulate(b.simulate, false); err != nil {
			return err
		}
	}
	ctx, stop := cli.OnInterrupt(ctx)
	defer stop()
	defer app.SpareHeap()()
	b.rig, err = b.openRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.rig.Close()) }()
	b.client, b.target = b.rig.client, client.Target{On: b.rig.runner}
	var rows []row
	for _, p := range parts {
		if len(b.only) > 0 && !slices.Contains(b.only, p.name) {
			continue
		}
		if b.ErrLook.Terminal {
			fmt.Fprintf(b.Err, "\r\x1b[Krunnel: measuring %s", p.name)
		}
		got, err := p.measure(b, ctx)
		if b.ErrLook.Terminal {
			fmt.Fprint(b.Err, "\r\x1b[K")
		}
		if err != nil {
			return fmt.Errorf("cannot measure %s: %w", p.name, err)
		}
		rows = append(rows, got...)
	}
	return b.report(rows)
}

// times is how often something is done.
func (b *command) times(n int) int {
	if b.quick {
		return max(1, n/10)
	}
	return n
}

func (b *command) report(rows []row) error {
	switch {
	case b.json:
		for _, r := range rows {
			if err := json.NewEncoder(b.Out).Encode(r); err != nil {
				return err
			}
		}
		return nil
	case b.markdown: // the README has this table, as it is
		fmt.Fprintln(b.Out, "| what | Runnel | floor | ratio | budget |\n|---|---|---|---|---|")
		for _, r := range rows {
			floor := r.floorText()
			if r.FloorIs != "" {
				floor += " (" + r.FloorIs + ")"
			}
			budget := r.budgetText()
			if !r.met() {
				budget += ": **missed**"
			}
			fmt.Fprintf(b.Out, "| %s | %s | %s | %s | %s |\n", r.Name, r.valueText(), floor, r.ratioText(), budget)
		}
		return nil
	}
	table := term.NewTable(b.Look, "what", "runnel", "floor", "ratio", "budget")
	table.GiveWay("what")
	missed := 0
	for _, r := range rows {
		budget := term.Painted{Colour: term.Green, Text: r.budgetText()}
		if !r.met() {
			missed++
			budget = term.Painted{Colour: term.Red, Text: r.budgetText() + " missed"}
		}
		table.Add(r.Name, r.valueText(), r.floorText(), r.ratioText(), budget)
	}
	if err := table.Write(b.Out); err != nil {
		return err
	}
	if missed > 0 {
		b.Say("%s above budget; on a busy machine, measure again", term.Plural(missed, "figure"))
	}
	return nil
}

func (r row) valueText() string { return figure(r.Value, r.Unit) }

func (r row) floorText() string {
	if r.FloorIs == "" {
		return "-"
	}
	return figure(r.Floor, r.Unit)
}

func (r row) ratioText() string {
	if r.FloorIs == "" {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

func (r row) budgetText() string {
	if r.Budget == 0 {
		return "-"
	}
	sign := "≥ "
	if r.Most {
		sign = "≤ "
	}
	if r.budgetsRatio() {
		return fmt.Sprintf("%s%g×", sign, r.Budget)
	}
	return sign + figure(r.Budget, r.Unit)
}

// figure is a number with three digits that count, and its unit.
func figure(v float64, unit string) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g M%s", v/1e6, thousands(unit))
	case v >= 1e4:
		return fmt.Sprintf("%.3g k%s", v/1e3, thousands(unit))
	case v >= 100:
		return fmt.Sprintf("%.0f%s", v, suffix(unit))
	}
	return fmt.Sprintf("%.3g%s", v, suffix(unit))
}

// thousands is a unit after an M or a k: MB, but M lines/s.
func thousands(unit string) string {
	if unit == "B" {
		return unit
	}
	return suffix(unit)
}

func suffix(unit string) string {
	if unit == "" {
		return ""
	}
	return " " + unit
}

// quantile of a list, which it sorts.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[min(len(all)-1, int(q*float64(len(all))))]) / float64(time.Millisecond)
}
