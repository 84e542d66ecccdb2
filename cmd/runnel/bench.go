package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/service/client"
)

// benchCommand is `runnel bench`: what a fleet's size is planned with, and our
// own yardstick. Every figure stands beside its floor: the same work without
// Runnel, done in the same process in the same minute, because on a shared
// machine only ratios last.
type benchCommand struct {
	*app
	only     []string
	isolated bool
	quick    bool
	json     bool
	markdown bool
	simulate int
	on       string

	rig    *benchRig
	client *client.Client
	target client.Target
}

// benchRow is one line of the result. Value and Floor are in the unit.
type benchRow struct {
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
func (r benchRow) met() bool {
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

func (r benchRow) budgetsRatio() bool { return r.FloorIs != "" && !r.OfValue }

// beside completes a row with its floor.
func (r benchRow) beside(floor float64, is string) benchRow {
	r.Floor, r.FloorIs = floor, is
	if floor > 0 {
		r.Ratio = r.Value / floor
	}
	return r
}

// benchPart is a group of rows that are measured together.
type benchPart struct {
	name    string
	measure func(*benchCommand, context.Context) ([]benchRow, error)
}

// benchParts in the order in which they run: that of the idle runner while it is
// fresh, those that fill memory last.
var benchParts = []benchPart{
	{"sleep", (*benchCommand).measureSleep},
	{"start", (*benchCommand).measureStart},
	{"rate", (*benchCommand).measureRate},
	{"first", (*benchCommand).measureFirst},
	{"isolation", (*benchCommand).measureIsolation},
	{"lag", (*benchCommand).measureLag},
	{"records", (*benchCommand).measureRecords},
	{"glance", (*benchCommand).measureGlance},
	{"fanout", (*benchCommand).measureFanOut},
	{"lines", (*benchCommand).measureLines},
	{"version", (*benchCommand).measureVersion},
	{"history", (*benchCommand).measureHistory},
}

func newBenchCommand(a *app) *cobra.Command {
	b := &benchCommand{app: a}
	var names []string
	for _, p := range benchParts {
		names = append(names, p.name)
	}
	cmd := &cobra.Command{
		Use:     "bench",
		GroupID: groupOther,
		Short:   "Measure runs, output, looks and fan-outs, each beside its floor",
		Long: `Measure runs, output, looks and fan-outs, each beside its floor: the same work
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
	groupFlags(flags, flagsWhat, "only", "isolation", "quick", "simulate")
	flags.StringVar(&b.on, "on", "", "with --server: the `RUNNER` to measure")
	groupFlags(flags, flagsWhere, "on")
	flags.BoolVar(&b.json, "json", false, "one JSON object a line")
	flags.BoolVar(&b.markdown, "markdown", false, "a table for a README")
	groupFlags(flags, flagsOutput, "json", "markdown")
	cmd.AddCommand(newBenchChildCommand(a), newBenchServerCommand(a))
	return cmd
}

func (b *benchCommand) run(ctx context.Context) (err error) {
	if b.isolated {
		b.only = append(b.only, "isolation")
	}
	for _, name := range b.only {
		if !slices.ContainsFunc(benchParts, func(p benchPart) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q (see runnel bench --help)", name)
		}
	}
	ctx, stop := onInterrupt(ctx)
	defer stop()
	defer spareHeap()()
	b.rig, err = b.openRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.rig.Close()) }()
	b.client, b.target = b.rig.client, client.Target{On: b.rig.runner}
	var rows []benchRow
	for _, p := range benchParts {
		if len(b.only) > 0 && !slices.Contains(b.only, p.name) {
			continue
		}
		if b.errLook.terminal {
			fmt.Fprintf(b.err, "\r\x1b[Krunnel: measuring %s", p.name)
		}
		got, err := p.measure(b, ctx)
		if b.errLook.terminal {
			fmt.Fprint(b.err, "\r\x1b[K")
		}
		if err != nil {
			return fmt.Errorf("cannot measure %s: %w", p.name, err)
		}
		rows = append(rows, got...)
	}
	return b.report(rows)
}

// times is how often something is done.
func (b *benchCommand) times(n int) int {
	if b.quick {
		return max(1, n/10)
	}
	return n
}

func (b *benchCommand) report(rows []benchRow) error {
	switch {
	case b.json:
		for _, r := range rows {
			if err := json.NewEncoder(b.out).Encode(r); err != nil {
				return err
			}
		}
		return nil
	case b.markdown:
		fmt.Fprintln(b.out, "| what | Runnel | floor | ratio | budget |\n|---|---|---|---|---|")
		for _, r := range rows {
			floor := r.floorText()
			if r.FloorIs != "" {
				floor += " (" + r.FloorIs + ")"
			}
			fmt.Fprintf(b.out, "| %s | %s | %s | %s | %s |\n", r.Name, r.valueText(), floor, r.ratioText(), r.budgetText())
		}
		return nil
	}
	table := newColumns(b.look, "what", "runnel", "floor", "ratio", "budget")
	table.giveWay("what")
	missed := 0
	for _, r := range rows {
		budget := painted{green, r.budgetText()}
		if !r.met() {
			missed++
			budget = painted{red, r.budgetText() + " missed"}
		}
		table.add(r.Name, r.valueText(), r.floorText(), r.ratioText(), budget)
	}
	if err := table.write(b.out); err != nil {
		return err
	}
	if missed > 0 {
		b.say("%s above budget; on a busy machine, measure again", plural(missed, "figure"))
	}
	return nil
}

func (r benchRow) valueText() string { return figure(r.Value, r.Unit) }

func (r benchRow) floorText() string {
	if r.FloorIs == "" {
		return "-"
	}
	return figure(r.Floor, r.Unit)
}

func (r benchRow) ratioText() string {
	if r.FloorIs == "" {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

func (r benchRow) budgetText() string {
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
