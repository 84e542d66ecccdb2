package hosts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// fleetWatch is `runnel ls --watch`: a table that is drawn again and again on a
// terminal, a line a change in a pipe. One goroutine has it; another one hands
// it the cards.
type fleetWatch struct {
	*app.App
	asJSON  bool
	runners map[string]watched
	drawn   int // lines of the table that stands on the terminal
	changed bool
}

type watched struct {
	client.Runner
	came time.Time // when Age was right
	told string    // what the last line in the pipe said
}

const (
	// watchPause is how long changes are collected for a drawing.
	watchPause = 200 * time.Millisecond
	// watchTick is how often ages are looked at: that a runner has gone is told
	// by nobody.
	watchTick = time.Second
)

func watchList(ctx context.Context, a *app.App, s *app.Session, asJSON bool) error {
	ctx, stop := cli.OnInterrupt(ctx)
	defer stop()
	w := &fleetWatch{App: a, asJSON: asJSON, runners: map[string]watched{}}
	cards, ended := make(chan client.Runner), make(chan error, 1)
	go func() {
		ended <- s.WatchRunners(ctx, func(r client.Runner) error {
			select {
			case cards <- r:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	err := w.run(ctx, cards, ended)
	if ctx.Err() != nil {
		return &cli.ExitError{Code: cli.ExitAborted}
	}
	stop()
	return err
}

func (w *fleetWatch) run(ctx context.Context, cards <-chan client.Runner, ended <-chan error) error {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	draw := time.NewTimer(watchPause)
	defer draw.Stop()
	for {
		var err error
		select {
		case r := <-cards:
			err = w.take(r)
			if !w.changed {
				draw.Reset(watchPause)
			}
			w.changed = true
		case <-tick.C:
			if err = w.age(); err == nil && w.Look.Terminal {
				err = w.draw()
			}
		case <-draw.C:
			if w.Look.Terminal {
				err = w.draw()
			}
		case err := <-ended:
			return errors.Join(err, ctx.Err())
		}
		if err != nil {
			return err
		}
	}
}

// take notes a card.
func (w *fleetWatch) take(r client.Runner) error {
	name := r.Card.GetName()
	before := w.runners[name]
	if r.Forgotten {
		delete(w.runners, name)
		if before.told == "" {
			return nil
		}
		return w.tell(&watched{Runner: r})
	}
	now := watched{Runner: r, came: time.Now(), told: before.told}
	err := w.tell(&now)
	w.runners[name] = now
	return err
}

// age makes offline those whose cards have become too old.
func (w *fleetWatch) age() error {
	for name, r := range w.runners {
		if r.Online && r.Age+time.Since(r.came) >= store.DefaultOnlineFor {
			r.Online = false
			if err := w.tell(&r); err != nil {
				return err
			}
			w.runners[name] = r
		}
	}
	return nil
}

// tell writes a line into the pipe if it says something new: a card that only
// says that its runner lives is no news.
func (w *fleetWatch) tell(r *watched) error {
	if w.Look.Terminal {
		return nil
	}
	c := r.Card
	words := []string{
		fmt.Sprintf("%-12s", c.GetName()), fmt.Sprintf("%-9s", runnerState(r.Runner).Text), fmt.Sprintf("%d/%d", c.GetRunning(), c.GetSlots()),
		strings.Join(c.GetPools(), ","), term.Dash(term.Labels(c.GetLabels())), c.GetVersion(),
	}
	if !r.Online {
		words[2] = "-"
	}
	if r.Forgotten {
		words = []string{words[0], "forgotten"}
	}
	text := term.Printable(strings.Join(words, "  "))
	if text == r.told {
		return nil
	}
	r.told = text
	if w.asJSON {
		return printRunnerJSON(w.App, r.Runner)
	}
	_, err := fmt.Fprintf(w.Out, "%s  %s\n", time.Now().Format(time.TimeOnly), text)
	return err
}

// draw draws the table over the one before, as much of it as there is room for.
func (w *fleetWatch) draw() error {
	w.changed = false
	w.Look = term.LookOf(w.Out) // it may have another size now
	var runners []client.Runner
	for _, name := range term.SortedKeys(w.runners) {
		r := w.runners[name]
		r.Age += time.Since(r.came)
		runners = append(runners, r.Runner)
	}
	lines := runnersTable(w.Look, runners).Lines()
	if len(runners) == 0 {
		lines = []string{"no runner has been seen yet"}
	}
	if room := w.Look.Height - 1; room > 2 && len(lines) > room {
		lines = append(lines[:room-1], fmt.Sprintf("and %d more", len(lines)-room+1))
	}
	var screen strings.Builder
	if w.drawn > 0 {
		fmt.Fprintf(&screen, "\x1b[%dA", w.drawn)
	}
	for _, line := range lines {
		screen.WriteString("\r" + line + "\x1b[K\n")
	}
	screen.WriteString("\x1b[J")
	w.drawn = len(lines)
	_, err := fmt.Fprint(w.Out, screen.String())
	return err
}
