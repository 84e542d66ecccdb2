package oldjobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Config of a Take. All but Logger are required.
type Config struct {
	Dir    string // the old program's data directory
	Mark   string // a file that says that it was read; made at the end
	JS     jetstream.JetStream
	Space  subjects.Space
	Runner string // whose runs the old ones become
	Logger *slog.Logger
}

// atOnce is how many jobs are stored side by side.
const atOnce = 16

type taker struct {
	Config
	jobs  *kv.Bucket
	store *store.Store
	taken atomic.Int64
}

// Take puts the directory's jobs and logs into the fleet, unless that was done
// before. Before an engine runs: it would not see them. What an earlier try has
// put in is left as it is.
func Take(ctx context.Context, cfg Config) error {
	if _, err := os.Stat(cfg.Mark); err == nil {
		return nil
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &taker{Config: cfg}
	var err error
	if t.jobs, err = kv.Open(ctx, cfg.JS, kv.Config{Name: cfg.Space.JobsBucket(), Description: "Runnel: jobs of pipelines"}); err != nil {
		return err
	}
	if t.store, err = store.Open(ctx, cfg.JS, cfg.Space, store.Config{Existing: true}); err != nil {
		return err
	}
	err = t.takeAll(ctx)
	if errors.Is(err, errNone) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the old data directory: %w", err)
	}
	if n := t.taken.Load(); n > 0 {
		cfg.Logger.Info("old jobs were taken over", "jobs", n, "dir", cfg.Dir)
	}
	return os.WriteFile(cfg.Mark, []byte("The old jobs of this directory were read.\n"), 0o600)
}

func (t *taker) takeAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	gate := make(chan struct{}, atOnce)
	err := read(t.Dir, func(old oldJob) error {
		job, err := old.record()
		if err != nil {
			t.Logger.Warn("an old job was left out", "error", err)
			return nil
		}
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-gate }()
			if err := t.take(ctx, job); err != nil {
				cancel(fmt.Errorf("job %s: %w", job.GetId(), err))
			}
		})
		return nil
	})
	wg.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// take stores a job, its runs and their logs first.
func (t *taker) take(ctx context.Context, job *pb.Job) error {
	for _, task := range job.GetTasks() {
		if len(task.GetRuns()) == 0 {
			continue
		}
		task.Runner = t.Runner
		if err := t.takeRun(ctx, job, task); err != nil {
			return fmt.Errorf("task %s: %w", task.GetName(), err)
		}
	}
	body, err := pb.MarshalJSON(job)
	if err != nil {
		return err
	}
	_, err = t.jobs.Put(ctx, kv.Write{Key: job.GetId(), Body: body, Create: true})
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return nil // by an earlier try
	}
	if err == nil {
		t.taken.Add(1)
	}
	return err
}

// runOf is a task's run as a fleet keeps it.
func (t *taker) runOf(job *pb.Job, task *pb.JobTask) *pb.Run {
	run := &pb.Run{
		Id: task.GetRuns()[0], Runner: t.Runner, Name: task.GetName(), State: pb.State_COMPLETE, Reason: "exit", ExitCode: task.GetExitCode(),
		Tags:    map[string]string{"job": job.GetId(), "pipeline": job.GetPipeline(), "task": task.GetName()},
		Created: task.GetStart(), Started: task.GetStart(), Ended: task.GetEnd(), Attempt: 1,
		LogStream: t.Space.LogStream(), LogSubject: t.Space.Log(t.Runner, task.GetRuns()[0]), LogComplete: true,
	}
	for key, value := range run.Tags {
		if len(value) > 256 {
			delete(run.Tags, key)
		}
	}
	if task.GetStatus() == "canceled" {
		run.State, run.Reason = pb.State_ABORTED, "aborted"
	}
	if run.Ended == nil {
		run.Ended = job.GetEnd()
	}
	if run.Ended == nil {
		run.Ended = timestamppb.Now()
	}
	return run
}

// takeRun stores the log and then the record: a record without an end would be
// taken for a run that its runner has lost.
func (t *taker) takeRun(ctx context.Context, job *pb.Job, task *pb.JobTask) error {
	run := t.runOf(job, task)
	if _, _, err := t.store.Get(ctx, run.GetId()); err == nil {
		return nil // by an earlier try
	} else if !errors.Is(err, store.ErrUnknownRun) {
		return err
	}
	if err := logs.Purge(ctx, t.JS, run); err != nil {
		return err // of what an earlier try left
	}
	end := lines.End{State: run.GetState().String(), Reason: run.GetReason(), ExitCode: run.GetExitCode()}
	totals, err := t.takeLog(ctx, job, task, end)
	if err != nil {
		return err
	}
	run.Lines, run.Bytes, run.Sha256 = totals.Lines, totals.Bytes, totals.SHA256
	state := run.GetState()
	run.State = pb.State_RUNNING
	rev, err := t.store.Create(ctx, run)
	if err != nil {
		return err
	}
	run.State = state
	_, err = t.store.Update(ctx, run, rev)
	return err
}

// takeLog stores a task's output: all of one stream, and then the other, as nobody
// knows any more how they were mixed.
func (t *taker) takeLog(ctx context.Context, job *pb.Job, task *pb.JobTask, end lines.End) (lines.Totals, error) {
	w := logs.Open(logs.Config{JS: t.JS, Subject: t.Space.Log(t.Runner, task.GetRuns()[0]), Stream: t.Space.LogStream(), Logger: t.Logger})
	for _, from := range []struct {
		name string
		to   lines.Stream
	}{{"stdout", lines.Stdout}, {"stderr", lines.Stderr}} {
		if err := t.copyFile(w, from.to, t.fileOf(job, task, from.name)); err != nil {
			w.Abandon(err)
			return lines.Totals{}, err
		}
	}
	return w.Close(ctx, end)
}

// fileOf is where the old program has put a stream: the task's name is as its
// definition has it, and must not lead elsewhere.
func (t *taker) fileOf(job *pb.Job, task *pb.JobTask, stream string) string {
	if strings.ContainsAny(task.GetName(), `/\`) {
		return ""
	}
	return filepath.Join(t.Dir, "logs", job.GetId(), task.GetName()+"-"+stream+".log")
}

func (t *taker) copyFile(w *logs.Writer, stream lines.Stream, path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil // it has printed nothing, or its log was removed
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	piece := make([]byte, 64<<10)
	for {
		n, err := f.Read(piece)
		if n > 0 {
			if err := w.Write(stream, piece[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read an old log: %w", err)
		}
	}
}
