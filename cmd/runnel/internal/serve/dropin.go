package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/oldjobs"
	"github.com/runnel-io/runnel/subjects"
)

// DropIn is what a server does that stands in for prunner: a runner, an engine
// and a gateway, with a NATS server built in where none is configured.
type DropIn struct {
	Address   string // of HTTP
	Data      string // the directory of that program's data, and of the server's
	Path      string // where the pipelines' files are
	Pattern   string
	EnvFiles  []string
	Watch     bool
	Poll      time.Duration // how often the files are read again, with Watch
	Secret    string
	Profiling bool
	Verbose   bool
}

// What that program's users expect: as many tasks at a time as there are, and
// what has been kept stays.
const (
	dropInSlots   = 1024
	dropInBacklog = 16384
	dropInKeep    = 50 * 365 * 24 * time.Hour
)

// Run serves in the place of prunner until a signal ends it.
func (d *DropIn) Run(ctx context.Context, a *app.App) (err error) {
	cli.IgnorePipeSignal()
	s := &command{App: a, dropIn: d}
	cmd := &cobra.Command{Use: "prunner"}
	s.addFlags(cmd)
	a.AddGlobalFlags(cmd)
	if err := d.configure(cmd); err != nil {
		return err
	}
	if err := s.prepare(cmd); err != nil {
		return err
	}
	log := newLogWriter(s.Err)
	s.Err = log
	defer log.Close()
	defer func() { err = errors.Join(err, s.Close()) }()
	defer app.SpareHeap()()
	signals, stop := cli.PrunnerSignals()
	defer stop()
	early, err := s.startUntil(ctx, signals, stop)
	if early != nil || err != nil {
		return err
	}
	giving, enough := context.WithCancel(ctx)
	defer enough()
	go app.GiveBack(giving)
	return s.serveDropIn(ctx, signals)
}

// configure sets the flags of `runnel serve` to what the old ones mean.
func (d *DropIn) configure(cmd *cobra.Command) error {
	if err := os.MkdirAll(d.Data, 0o755); err != nil {
		return fmt.Errorf("cannot make the data directory: %w", err)
	}
	data, err := filepath.Abs(d.Data)
	if err != nil {
		return err
	}
	values := map[string][]string{
		"data": {data}, "http": {d.Address}, "path": {d.Path}, "pattern": {d.Pattern}, "watch": {strconv.FormatBool(d.Watch)}, "env-file": d.EnvFiles,
		"engine": {"true"}, "jwt-secret": {d.Secret}, "slots": {strconv.Itoa(dropInSlots)}, "backlog": {strconv.Itoa(dropInBacklog)},
		"log-max-age": {dropInKeep.String()}, "retention": {dropInKeep.String()},
	}
	if d.Verbose {
		values["log-level"] = []string{"debug"}
	}
	global := cmd.PersistentFlags()
	if err := cli.ApplyEnv(global); err != nil { // which NATS server there is
		return err
	}
	cmd.Flags().AddFlagSet(global)
	for name, list := range values {
		for _, value := range list {
			if err := cmd.Flags().Set(name, value); err != nil {
				return fmt.Errorf("cannot use --%s %s: %w", name, value, err)
			}
		}
	}
	return nil
}

// takeOldJobs reads what the old program has left, before the engine begins.
func (s *command) takeOldJobs(ctx context.Context) error {
	nc, err := s.target.Connect(nats.Name("runnel old jobs"), nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := s.target.JetStream(nc)
	if err != nil {
		return err
	}
	space, err := subjects.New(s.Prefix)
	if err != nil {
		return err
	}
	return oldjobs.Take(ctx, oldjobs.Config{
		Dir: s.cfg.DataDir, Mark: filepath.Join(s.cfg.DataDir, "old-jobs-read"), JS: js, Space: space, Runner: s.cfg.Name, Logger: s.Log,
	})
}

// serveDropIn serves until a signal: SIGINT lets running jobs end, SIGTERM cancels
// them, also after a SIGINT, and SIGUSR1 reads the pipelines' files again.
func (s *command) serveDropIn(ctx context.Context, signals <-chan os.Signal) error {
	poll := s.pollFiles()
	defer poll.Stop()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	ending := false
	for {
		select {
		case err := <-ended:
			return err
		case <-poll.C:
			s.pipelines.again()
		case sig := <-signals:
			switch {
			case sig == cli.RereadSignal:
				s.Log.Info("reading the pipelines' files again")
				s.pipelines.again()
			case sig == os.Interrupt && !ending:
				ending = true
				s.Log.Info("waiting until running jobs have ended; SIGTERM cancels them")
				wg.Go(func() { ended <- s.endJobs(ctx, false) })
			case sig != os.Interrupt:
				ending = true
				s.Log.Info("canceling running jobs")
				wg.Go(func() { ended <- s.endJobs(ctx, true) })
			}
		}
	}
}

// pollFiles ticks when the files are to be read again; for file systems that
// don't tell of changes.
func (s *command) pollFiles() *time.Ticker {
	poll := time.NewTicker(max(s.dropIn.Poll, time.Second))
	if !s.dropIn.Watch {
		poll.Stop()
	}
	return poll
}

// cancelTime is what canceled jobs get to end.
const cancelTime = 30 * time.Second

// endJobs takes no new jobs, cancels those that wait, or all of them, and waits
// for the end of the others. Where another engine runs the jobs, they go on.
func (s *command) endJobs(ctx context.Context, all bool) error {
	s.web.gateway.Refuse()
	if s.pipelines.engine == nil || !s.pipelines.engine.Leads() {
		return nil
	}
	if all {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, cancelTime)
		defer done()
	}
	c, err := client.New(s.pipelines.nc, client.Options{Prefix: s.Prefix})
	if err != nil {
		return err
	}
	jobs, err := s.web.gateway.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("cannot find the running jobs: %w", err)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(jobs))
	for i, job := range jobs {
		wg.Go(func() {
			if all || job.GetStart() == nil {
				if _, errs[i] = c.Cancel(ctx, job.GetId(), client.CancelOptions{Reason: "the server is shutting down"}); errs[i] != nil {
					return
				}
			}
			errs[i] = c.WatchJob(ctx, job.GetId(), func(*pb.Job) error { return nil })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
