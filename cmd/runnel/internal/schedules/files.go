package schedules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/schedule/file"
)

// fileFlags are those of the commands about a file.
type fileFlags struct {
	*app.App
	path   string
	source string
	prune  bool
}

func (f *fileFlags) add(cmd *cobra.Command, prune string) {
	cmd.Flags().StringVarP(&f.path, "file", "f", "schedules.yml", "the `FILE`; - for standard input")
	cmd.Flags().StringVar(&f.source, "source", "", "where the schedules are from: `NAME` (default HOST:PATH)")
	cmd.Flags().BoolVar(&f.prune, "prune", false, prune)
	cli.Group(cmd.Flags(), cli.FlagsWhat, "file", "source", "prune")
}

func newApplyCommand(a *app.App) *cobra.Command {
	f := &fileFlags{App: a}
	cmd := &cobra.Command{
		Use:     "apply",
		Short:   "Make the schedules match a file",
		Example: "  runnel schedule apply -f schedules.yml\n  runnel schedule apply -f schedules.yml --prune",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withChanges(cmd.Context(), func(ctx context.Context, s *app.Session, all []change) error {
				for _, c := range all {
					if err := c.make(ctx, s); err != nil {
						return advise(err)
					}
					if _, err := fmt.Fprintf(a.Out, "%s %s\n", c.done(), c.name); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(cmd, "remove the file's schedules that are not in it any more")
	return cmd
}

func newDiffCommand(a *app.App) *cobra.Command {
	f := &fileFlags{App: a}
	cmd := &cobra.Command{
		Use:     "diff",
		Short:   "Say what apply would change; exit 1 if anything",
		Example: "  runnel schedule diff -f schedules.yml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withChanges(cmd.Context(), func(_ context.Context, _ *app.Session, all []change) error {
				differs := false
				for _, c := range all {
					if c.same() {
						continue
					}
					differs = true
					if err := c.print(a.Out); err != nil {
						return err
					}
				}
				if differs {
					return &cli.ExitError{Code: 1}
				}
				return nil
			})
		},
	}
	f.add(cmd, "also what --prune of apply would remove")
	return cmd
}

// withChanges reads the file, and compares it with what there is.
func (f *fileFlags) withChanges(ctx context.Context, do func(context.Context, *app.Session, []change) error) error {
	text, err := f.read()
	if err != nil {
		return err
	}
	wanted, err := file.Parse(f.path, text, time.Now())
	if place := (*definition.Error)(nil); errors.As(err, &place) && place.Excerpt != "" {
		f.Say("%v", err)
		fmt.Fprintln(f.Err, place.Excerpt)
		return &cli.ExitError{Code: cli.ExitOwn}
	}
	if err != nil {
		return err
	}
	if f.source == "" {
		f.source = sourceOf(f.path)
	}
	return f.WithSession(ctx, func(ctx context.Context, s *app.Session) error {
		there, err := s.Schedules(ctx)
		if err != nil {
			return err
		}
		var all []change
		for _, w := range wanted {
			w.Source, w.By = f.source, app.UserName()
			c := change{name: w.Name, wanted: &w}
			if i := slices.IndexFunc(there, func(one client.Schedule) bool { return one.Name == w.Name }); i >= 0 {
				c.there = &there[i]
			}
			all = append(all, c)
		}
		for _, one := range there {
			if f.prune && one.Source == f.source && !slices.ContainsFunc(wanted, func(w client.Schedule) bool { return w.Name == one.Name }) {
				all = append(all, change{name: one.Name, there: &one})
			}
		}
		return do(ctx, s, all)
	})
}

func (f *fileFlags) read() ([]byte, error) {
	if f.path == "-" {
		return io.ReadAll(f.In)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the schedules: %w (name the file with -f)", err)
	}
	return text, nil
}

func sourceOf(path string) string {
	host, _ := os.Hostname() // else the path is all there is
	if abs, err := filepath.Abs(path); err == nil && path != "-" {
		path = abs
	}
	return host + ":" + path
}

// change is what apply makes of one schedule: there, wanted, or both.
type change struct {
	name          string
	there, wanted *client.Schedule
}

// fields are what a definition says, by name, as JSON.
func fields(s *client.Schedule) map[string]json.RawMessage {
	if s == nil {
		return nil
	}
	m := s.Message(time.Now())
	m.Revision, m.Since, m.By, m.Paused, m.Next, m.Over, m.Last = 0, nil, "", nil, nil, false, nil
	body, err := pb.MarshalJSON(m)
	if err != nil {
		return nil
	}
	all, _ := said(body)
	return all
}

// said leaves out of an object, and of those in it, what says nothing: a field that
// is empty is one that is not there.
func said(object json.RawMessage) (all map[string]json.RawMessage, isObject bool) {
	if json.Unmarshal(object, &all) != nil {
		return nil, false
	}
	for name, value := range all {
		if inside, is := said(value); is {
			value, _ = json.Marshal(inside) // as it was read
			all[name] = value
		}
		if slices.Contains([]string{`""`, "0", "false", "null", "[]", "{}"}, string(value)) {
			delete(all, name)
		}
	}
	return all, true
}

// differences are the names of the fields that differ.
func (c change) differences() (names []string) {
	old, now := fields(c.there), fields(c.wanted)
	for _, name := range term.SortedKeys(now) {
		if !bytes.Equal(old[name], now[name]) {
			names = append(names, name)
		}
	}
	for _, name := range term.SortedKeys(old) {
		if _, has := now[name]; !has {
			names = append(names, name)
		}
	}
	return names
}

func (c change) same() bool {
	return c.there != nil && c.wanted != nil && len(c.differences()) == 0
}

func (c change) make(ctx context.Context, s *app.Session) (err error) {
	switch {
	case c.same():
	case c.wanted == nil:
		err = s.RemoveSchedule(ctx, c.name)
	case c.there == nil:
		_, err = s.PutSchedule(ctx, *c.wanted)
	default:
		changed := *c.wanted
		changed.Rev = c.there.Rev
		_, err = s.ChangeSchedule(ctx, changed)
	}
	return err
}

// done is what make did, in a word.
func (c change) done() string {
	switch {
	case c.same():
		return "unchanged"
	case c.wanted == nil:
		return "removed"
	case c.there == nil:
		return "added"
	}
	return "changed"
}

func (c change) print(to io.Writer) error {
	var b bytes.Buffer
	switch {
	case c.wanted == nil:
		fmt.Fprintf(&b, "- %s\n", c.name)
	case c.there == nil:
		fmt.Fprintf(&b, "+ %s: %s, %s\n", c.name, term.Printable(when(*c.wanted)), term.Printable(target(*c.wanted)))
	default:
		fmt.Fprintf(&b, "~ %s\n", c.name)
		old, now := fields(c.there), fields(c.wanted)
		for _, name := range c.differences() {
			fmt.Fprintf(&b, "    %s: %s → %s\n", name, dash(old[name]), dash(now[name]))
		}
	}
	_, err := to.Write(b.Bytes())
	return err
}

func dash(value json.RawMessage) string {
	if len(value) == 0 || string(value) == `""` {
		return "-"
	}
	return term.Printable(string(value))
}
