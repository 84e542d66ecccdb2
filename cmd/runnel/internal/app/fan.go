package app

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// maxNames in a summary: a thousand names help nobody.
const maxNames = 8

// Names lists the first few.
func Names(all []string) string {
	if len(all) <= maxNames {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNames], ", "), len(all)-maxNames)
}

// FanProgress shows on a terminal how many have answered.
func (a *App) FanProgress(opts client.FanOptions) (client.FanOptions, func()) {
	var p *term.Progress
	opts.Expected = func(names []string) { p = term.NewProgress(a.Err, a.ErrLook, "runners", int64(len(names))) }
	opts.Answered = func(string) { p.Add(1) }
	return opts, func() {
		if p != nil {
			p.Done()
		}
	}
}

// SayFan sums up a fan-out, the bad news last, and returns the error that ends
// the command with the right code.
func (a *App) SayFan(r *client.FanLists) error {
	asked := len(r.OK) + len(r.Failed) + len(r.Missing) + len(r.Unexpected)
	parts := []string{fmt.Sprintf("%d ok", len(r.OK))}
	if len(r.Skipped) > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped (%s)", len(r.Skipped), Names(r.Skipped)))
	}
	if len(r.Unexpected) > 0 {
		parts = append(parts, fmt.Sprintf("%d unexpected (%s)", len(r.Unexpected), Names(r.Unexpected)))
	}
	if len(r.Failed) > 0 {
		why := map[string]string{}
		for _, name := range r.Failed {
			why[name] = r.Errors[name].Error()
		}
		parts = append(parts, fmt.Sprintf("%d failed (%s)", len(r.Failed), Causes(why)))
	}
	if len(r.Missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d missing (%s)", len(r.Missing), Names(r.Missing)))
	}
	if r.Short > 0 {
		parts = append(parts, fmt.Sprintf("%d fewer than expected", r.Short))
	}
	if asked == 0 && r.Short == 0 {
		return client.ErrNoMatch
	}
	a.Say("%s: %s", term.Plural(asked+len(r.Skipped), "runner"), strings.Join(parts, ", "))
	switch {
	case !r.Complete():
		return &cli.ExitError{Code: cli.ExitOwn}
	case len(r.Failed) > 0:
		return &cli.ExitError{Code: 1}
	}
	return nil
}

// maxCauses in a summary.
const maxCauses = 3

// Causes are those that failed and why, by cause: a fleet mostly has one.
func Causes(why map[string]string) string {
	var all []string
	who := map[string][]string{}
	for _, name := range term.SortedKeys(why) {
		cause := why[name]
		if who[cause] == nil {
			all = append(all, cause)
		}
		who[cause] = append(who[cause], name)
	}
	var parts []string
	for _, cause := range all[:min(len(all), maxCauses)] {
		parts = append(parts, Names(who[cause])+": "+term.Printable(cause))
	}
	if more := len(all) - maxCauses; more > 0 {
		parts = append(parts, term.Plural(more, "more cause"))
	}
	return strings.Join(parts, "; ")
}

// PrintReplies writes the replies of some runners as a line of JSON each, with its
// name: what is only an error doesn't have it.
func PrintReplies[R pb.Message](a *App, r *client.FanResult[R], lists ...[]string) error {
	for _, name := range slices.Concat(lists...) {
		answer := r.Answers[name]
		if answer.Err != nil && client.Code(answer.Err) == 0 {
			continue
		}
		switch reply := any(answer.Message).(type) {
		case *pb.GlanceReply:
			reply.Runner = name
		case *pb.MaintReply:
			reply.Runner = name
		}
		if err := a.PrintJSON(answer.Message); err != nil {
			return err
		}
	}
	return nil
}

// PrintLists writes who is in which list as a line of JSON.
func (a *App) PrintLists(r *client.FanLists) error { return a.PrintSummary(r.OK, r.Failed, r) }

// PrintSummary is for what has its own idea of ok and failed.
func (a *App) PrintSummary(ok, failed []string, r *client.FanLists) error {
	return json.NewEncoder(a.Out).Encode(map[string]any{"summary": map[string]any{
		"ok": list(ok), "failed": list(failed), "skipped": list(r.Skipped), "missing": list(r.Missing), "unexpected": list(r.Unexpected),
	}})
}

// list is never null in JSON.
func list(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

// PrintJSON writes a message in the form it has on the wire, on one line.
func (a *App) PrintJSON(m pb.Message) error {
	b, err := pb.MarshalJSON(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "%s\n", b)
	return err
}
