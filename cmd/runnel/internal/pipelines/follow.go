package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/output"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// jobFollower shows what a job does. On a terminal it draws the tasks and their
// states; elsewhere it prints the output of each task, line by line with the
// task's name before it, and the changes of state on standard error.
type jobFollower struct {
	*app.App
	ctx  context.Context
	s    *app.Session
	live bool
	draw bool

	mu      sync.Mutex
	job     *pb.Job
	drawn   int // lines on the screen
	states  map[string]string
	follows map[string]bool // runs
	wg      sync.WaitGroup
	failed  error
	stop    chan struct{}
}

func newJobFollower(ctx context.Context, a *app.App, s *app.Session, live bool) *jobFollower {
	f := &jobFollower{App: a, ctx: ctx, s: s, live: live, states: map[string]string{}, follows: map[string]bool{}, stop: make(chan struct{})}
	f.draw = live && a.ErrLook.Terminal && a.Look.Terminal
	if f.draw {
		f.wg.Go(f.tick)
	}
	return f
}

// saw takes in the job as it is now.
func (f *jobFollower) saw(job *pb.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.job = job
	if f.draw {
		f.redraw()
		return
	}
	for _, t := range job.GetTasks() {
		if f.live && f.states[t.GetName()] != t.GetStatus() && t.GetStatus() != "waiting" {
			f.Say("%s", taskSentence(t))
		}
		f.states[t.GetName()] = t.GetStatus()
		if t.GetKept() {
			continue
		}
		for _, id := range t.GetRuns() {
			if !f.follows[id] {
				f.follows[id] = true
				f.wg.Go(func() { f.output(t, id) })
			}
		}
	}
}

func taskSentence(t *pb.JobTask) string {
	text := term.Printable(t.GetName()) + " " + t.GetStatus()
	if t.GetRunner() != "" && t.GetEnd() != nil {
		text += " on " + t.GetRunner()
	}
	if t.GetEnd() != nil && t.GetStart() != nil && t.GetStatus() != "skipped" {
		text += " after " + between(t.GetStart(), t.GetEnd(), time.Time{})
	}
	if t.GetError() != "" {
		text += ": " + term.Printable(t.GetError())
	}
	return text
}

// output prints what one run prints, each line behind the task's name.
func (f *jobFollower) output(t *pb.JobTask, id string) {
	run, err := f.runOf(id)
	if err != nil {
		f.fail(err)
		return
	}
	prefix := term.Printable(t.GetName()) + " | "
	if len(t.GetRuns()) > 1 {
		prefix = term.Printable(t.GetName()) + " " + run.GetRunner() + " | "
	}
	var pending [2][]byte
	_, err = f.s.Follow(f.ctx, run, client.FollowOptions{Live: f.live}, func(r lines.Record) error {
		if r.End != nil {
			return nil
		}
		if r.Gap != nil {
			return f.line(prefix, []byte("("+output.GapText(r.Gap)+")"))
		}
		line := &pending[r.Stream&1]
		*line = append(*line, r.Text...)
		if r.Open && len(*line) < maxShownLine {
			return nil
		}
		err := f.line(prefix, *line)
		*line = (*line)[:0]
		return err
	})
	for _, line := range pending {
		if len(line) > 0 {
			err = errors.Join(err, f.line(prefix, line))
		}
	}
	f.fail(err)
}

// maxShownLine is where a line that does not end is broken.
const maxShownLine = 64 << 10

// runOf waits until a run has a record: its task is said to run before it is asked for.
func (f *jobFollower) runOf(id string) (*pb.Run, error) {
	run, err := f.s.Status(f.ctx, id)
	if !errors.Is(err, client.ErrUnknownRun) || !f.live {
		return run, err
	}
	states := []pb.State{pb.State_RUNNING, pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT}
	for {
		run, err := f.s.Wait(f.ctx, id, states...)
		if !errors.Is(err, client.ErrUnknownRun) {
			return run, err
		}
		select {
		case <-f.stop: // the job is over: it has a record now, or never will
			return f.s.Status(f.ctx, id)
		case <-f.ctx.Done():
			return nil, f.ctx.Err()
		case <-time.After(recordPause):
		}
	}
}

// recordPause is between two looks for a run that has no record yet.
const recordPause = 100 * time.Millisecond

func (f *jobFollower) line(prefix string, text []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := fmt.Fprintf(f.Out, "%s%s\n", prefix, text)
	return err
}

// fail keeps the first error that is one: a run whose record was removed, or that
// never began, has no output.
func (f *jobFollower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil && err != nil && !errors.Is(err, client.ErrUnknownRun) && f.ctx.Err() == nil {
		f.failed = err
	}
}

// close waits for the rest of the output.
func (f *jobFollower) close() error {
	close(f.stop)
	f.wg.Wait()
	return f.failed
}

// tick keeps the times on the screen going.
func (f *jobFollower) tick() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
			f.mu.Lock()
			if f.job != nil && !f.job.GetCompleted() {
				f.redraw()
			}
			f.mu.Unlock()
		}
	}
}

// redraw draws the tasks over those that it drew before.
func (f *jobFollower) redraw() {
	lines := f.picture(time.Now())
	var out strings.Builder
	if f.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", f.drawn)
	}
	for _, line := range lines {
		out.WriteString("\r\x1b[K" + line + "\n")
	}
	if f.drawn > len(lines) {
		out.WriteString("\x1b[J")
	}
	f.drawn = len(lines)
	fmt.Fprint(f.Err, out.String())
}

// marks are the states as shapes, for those who see no colours.
var marks = map[string]string{"waiting": "·", "running": "▸", "done": "✓", "error": "✗", "canceled": "■", "skipped": "–"}

// picture is the graph as a table: it fits the terminal's width.
func (f *jobFollower) picture(now time.Time) []string {
	table := term.NewTable(f.ErrLook, "", "task", "state", "for", "runner", "")
	table.AlignRight("for")
	table.GiveWay("", "task")
	tasks := f.job.GetTasks()
	hidden := 0
	if most := max(f.ErrLook.Height-4, 10); len(tasks) > most {
		tasks, hidden = relevant(tasks, most), len(tasks)-most
	}
	for _, t := range tasks {
		state := taskState(t)
		table.Add(term.Painted{Colour: state.Colour, Text: marks[t.GetStatus()]}, term.Printable(t.GetName()), state,
			between(t.GetStart(), t.GetEnd(), now), t.GetRunner(), taskNote(t))
	}
	lines := table.Lines()
	if hidden > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", hidden))
	}
	return lines
}

// relevant picks the tasks to show where there is not room for all: what failed
// and what runs, then what comes next, then what is done.
func relevant(tasks []*pb.JobTask, most int) []*pb.JobTask {
	var picked []*pb.JobTask
	for _, states := range []string{"error canceled", "running", "waiting", "done skipped"} {
		for _, t := range tasks {
			if strings.Contains(states, t.GetStatus()) && len(picked) < most {
				picked = append(picked, t)
			}
		}
	}
	return picked
}
