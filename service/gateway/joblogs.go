package gateway

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// jobLogs is a task's output so far. It is streamed: what is in memory is a
// message of the log.
func (g *Gateway) jobLogs(w http.ResponseWriter, r *http.Request) {
	_, task := g.taskIn(w, r)
	if task == nil {
		return
	}
	tail, err := tailOf(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	runs, err := g.runsOf(r.Context(), task)
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	stream := r.URL.Query().Get("stream")
	if stream != "" && stream != "stdout" && stream != "stderr" {
		writeError(w, http.StatusBadRequest, fmt.Sprintf("invalid stream %q: it is stdout or stderr", stream))
		return
	}
	tips, err := g.tipsOf(r.Context(), runs)
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	tag := tagOf(runs, tips, fmt.Sprintf("%s.%d", stream, tail))
	if stream != "" {
		g.plainLog(w, r, plainText{runs, tips, streamNamed(stream), tail, tag})
		return
	}
	out, done := begin(w, r, tag, "application/json")
	if done {
		return
	}
	_, _ = out.WriteString(`{"stdout":"`)
	err = g.writeText(r.Context(), jsonWriter{out.Writer}, runs, lines.Stdout, tail)
	_, _ = out.WriteString(`","stderr":"`)
	if err == nil {
		err = g.writeText(r.Context(), jsonWriter{out.Writer}, runs, lines.Stderr, tail)
	}
	_, _ = out.WriteString(`"}`)
	g.finish(out, err)
}

// taskIn finds the task that a request names, and its job.
func (g *Gateway) taskIn(w http.ResponseWriter, r *http.Request) (job *pb.Job, task *pb.JobTask) {
	if job = g.jobIn(w, r); job == nil {
		return nil, nil
	}
	name := r.URL.Query().Get("task")
	if name == "" {
		writeError(w, http.StatusBadRequest, "Invalid task name")
		return nil, nil
	}
	if task = job.Task(name); task == nil {
		writeError(w, http.StatusNotFound, "Task not found")
	}
	return job, task
}

// tipsOf says how far the logs of runs go.
func (g *Gateway) tipsOf(ctx context.Context, runs []*pb.Run) ([]logs.Tip, error) {
	tips := make([]logs.Tip, len(runs))
	for i, run := range runs {
		var err error
		if tips[i], err = g.client.LogTip(ctx, run); err != nil {
			return nil, err
		}
	}
	return tips, nil
}

// tagOf is the entity tag of the logs of runs, the same at every gateway: their
// last messages say how far they go. What is read later may have more in it; the
// next request sees another tag then.
func tagOf(runs []*pb.Run, tips []logs.Tip, form string) string {
	sum := sha256.New()
	_, _ = fmt.Fprint(sum, form)
	for i, run := range runs {
		_, _ = fmt.Fprintf(sum, " %s %d %d", run.GetId(), tips[i].Stored, tips[i].Seq)
	}
	return "l" + hex.EncodeToString(sum.Sum(nil)[:12])
}

// finish ends an answer that was streamed.
func (g *Gateway) finish(out *zipWriter, err error) {
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		g.log.Warn("cannot send a log", "error", err)
		panic(http.ErrAbortHandler) // the client sees that it is not whole
	}
}

func streamNamed(name string) lines.Stream {
	if name == "stderr" {
		return lines.Stderr
	}
	return lines.Stdout
}

func tailOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("tail")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("invalid tail %q: it is a number of lines, at least 1", text)
	}
	return n, nil
}

// runsOf are the runs of a task, in order of their runners' names. One that has
// no record, or no longer, has no output.
func (g *Gateway) runsOf(ctx context.Context, task *pb.JobTask) ([]*pb.Run, error) {
	var runs []*pb.Run
	for _, id := range task.GetRuns() {
		run, err := g.client.Status(ctx, id)
		if errors.Is(err, client.ErrUnknownRun) {
			continue
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b *pb.Run) int {
		if a.GetRunner() < b.GetRunner() {
			return -1
		}
		return 1
	})
	return runs, nil
}

// textWriter takes text piece by piece.
type textWriter interface {
	text([]byte) error
}

// jsonWriter writes the inside of a JSON string.
type jsonWriter struct{ *bufio.Writer }

const hexDigits = "0123456789abcdef"

func (j jsonWriter) text(b []byte) error {
	for len(b) > 0 {
		c := b[0]
		switch {
		case c == '"' || c == '\\':
			_, _ = j.Write([]byte{'\\', c})
		case c == '\n':
			_, _ = j.WriteString(`\n`)
		case c == '\t':
			_, _ = j.WriteString(`\t`)
		case c == '\r':
			_, _ = j.WriteString(`\r`)
		case c < 0x20 || c == '<' || c == '>' || c == '&':
			_, _ = j.Write([]byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]})
		case c < utf8.RuneSelf:
			_ = j.WriteByte(c)
		default:
			r, size := utf8.DecodeRune(b)
			_, _ = j.WriteRune(r) // U+FFFD for what is not UTF-8
			b = b[size:]
			continue
		}
		b = b[1:]
	}
	_, err := j.Write(nil)
	return err
}

type plainWriter struct{ *bufio.Writer }

func (p plainWriter) text(b []byte) error {
	_, err := p.Write(b)
	return err
}

// writeText writes one stream of runs. Of several, each line has its runner's
// name before it.
func (g *Gateway) writeText(ctx context.Context, out textWriter, runs []*pb.Run, stream lines.Stream, tail int) error {
	for _, run := range runs {
		prefix := ""
		if len(runs) > 1 {
			prefix = run.GetRunner() + ": "
		}
		if err := g.writeRun(ctx, out, run, stream, prefix, tail); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gateway) writeRun(ctx context.Context, out textWriter, run *pb.Run, stream lines.Stream, prefix string, tail int) error {
	begins := true
	ring := newTail(tail)
	write := out.text
	if tail > 0 {
		write = ring.text
	}
	_, err := g.client.Follow(ctx, run, client.FollowOptions{Streams: []lines.Stream{stream}}, func(r lines.Record) error {
		if r.End != nil || r.Gap != nil {
			return nil
		}
		if begins && prefix != "" {
			if err := write([]byte(prefix)); err != nil {
				return err
			}
		}
		if err := write(r.Text); err != nil {
			return err
		}
		if begins = !r.Open; begins {
			return write([]byte{'\n'})
		}
		return nil
	})
	if err != nil || tail == 0 {
		return err
	}
	return ring.flush(out)
}

// tailRing keeps the last lines of a text.
type tailRing struct {
	most  int
	lines [][]byte
	open  []byte
}

func newTail(most int) *tailRing { return &tailRing{most: most} }

func (t *tailRing) text(b []byte) error {
	for _, c := range b {
		t.open = append(t.open, c)
		if c == '\n' {
			t.lines = append(t.lines, t.open)
			t.open = nil
			if len(t.lines) > t.most {
				t.lines = t.lines[1:]
			}
		}
	}
	return nil
}

func (t *tailRing) flush(out textWriter) error {
	if len(t.open) > 0 && len(t.lines) == t.most {
		t.lines = t.lines[1:]
	}
	for _, line := range append(t.lines, t.open) {
		if err := out.text(line); err != nil {
			return err
		}
	}
	return nil
}
