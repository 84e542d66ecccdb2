package app

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
)

// completePatience is how long a shell waits for what a fleet knows: whoever has
// pressed Tab types on.
const completePatience = 2 * time.Second

// A Completer finds what a word of the command line can be, each with a
// description behind a tab. Args are the arguments before it.
type Completer func(ctx context.Context, s *Session, args []string) ([]string, error)

// Complete completes what the fleet knows. What goes wrong is not said: it would
// stand in the middle of the line that is being typed.
func (a *App) Complete(find Completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) (found []string, _ cobra.ShellCompDirective) {
		const nothingElse = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		a.Err = io.Discard
		if err := cli.ApplyEnv(cmd.Root().PersistentFlags()); err != nil {
			return nil, nothingElse
		}
		a.Conn.Timeout = min(a.Conn.Timeout, a.TabPatience)
		ctx, cancel := context.WithTimeout(cmd.Context(), a.TabPatience)
		defer cancel()
		_ = a.WithSession(ctx, func(ctx context.Context, s *Session) (err error) {
			found, err = find(ctx, s, args)
			return err
		})
		return slices.DeleteFunc(found, func(one string) bool {
			word, _, _ := strings.Cut(one, "\t")
			return !strings.HasPrefix(word, begun) || slices.Contains(args, word)
		}), nothingElse
	}
}

// Once completes the first argument alone.
func Once(find Completer) Completer {
	return func(ctx context.Context, s *Session, args []string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil
		}
		return find(ctx, s, args)
	}
}

// CompleteFlag makes the shell complete a flag's value.
func (a *App) CompleteFlag(cmd *cobra.Command, flag string, find Completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, a.Complete(find)); err != nil {
		panic(err) // a slip of ours, seen by any test
	}
}

// RunnerNames are the names of the fleet's runners.
func RunnerNames(ctx context.Context, s *Session, _ []string) (names []string, err error) {
	all, err := s.Runners(ctx)
	for _, r := range all {
		state := r.Card.GetState()
		if !r.Online {
			state = "offline"
		}
		names = append(names, fmt.Sprintf("%s\t%s, %s", r.Card.GetName(), state, strings.Join(r.Card.GetPools(), " ")))
	}
	return names, err
}

// PoolNames are the pools that the fleet's runners are in.
func PoolNames(ctx context.Context, s *Session, _ []string) ([]string, error) {
	all, err := s.Runners(ctx)
	count := map[string]int{}
	for _, r := range all {
		for _, pool := range r.Card.GetPools() {
			count[pool]++
		}
	}
	return counted(count), err
}

// LabelPairs are the labels that the fleet's runners have, as K=V.
func LabelPairs(ctx context.Context, s *Session, _ []string) ([]string, error) {
	return labels(ctx, s, func(key, value string) string { return key + "=" + value })
}

// Selectors are expressions for --where about the labels that the fleet's runners have.
func Selectors(ctx context.Context, s *Session, _ []string) ([]string, error) {
	return labels(ctx, s, func(key, value string) string {
		if identifier.MatchString(key) {
			return fmt.Sprintf("labels.%s==%q", key, value)
		}
		return fmt.Sprintf("labels[%q]==%q", key, value)
	})
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func labels(ctx context.Context, s *Session, word func(key, value string) string) ([]string, error) {
	all, err := s.Runners(ctx)
	count := map[string]int{}
	for _, r := range all {
		for key, value := range r.Card.GetLabels() {
			count[word(key, value)]++
		}
	}
	return counted(count), err
}

// counted lists words by name, each with the number of runners that it is about.
func counted(count map[string]int) (words []string) {
	for _, word := range slices.Sorted(maps.Keys(count)) {
		words = append(words, word+"\t"+term.Plural(count[word], "runner"))
	}
	return words
}
