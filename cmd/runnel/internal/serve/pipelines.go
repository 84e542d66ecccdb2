package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/pipeline/source"
)

// pipelines is the engine of a server that has one, and the files that its
// definitions are from.
type pipelines struct {
	flag     *cobra.Command
	on       bool
	path     string
	pattern  string
	watch    bool
	envFiles []string

	nc     *nats.Conn
	engine *pipeline.Engine
	source *source.Files
	reload chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (p *pipelines) addFlags(cmd *cobra.Command) {
	p.flag = cmd
	flags := cmd.Flags()
	flags.BoolVar(&p.on, "engine", false, "run pipelines, or stand by to take over (default on with the\nNATS server built in)")
	flags.StringVar(&p.path, "path", "", "load the pipelines of the files below `DIRECTORY`")
	flags.StringVar(&p.pattern, "pattern", source.DefaultPattern, "which files below --path: `GLOB`")
	flags.BoolVar(&p.watch, "watch", false, "read the files below --path again when they change")
	flags.StringArrayVar(&p.envFiles, "env-file", nil, "environment for the tasks of --path: a `FILE` of NAME=value lines;\nmay be repeated, the later ones count")
	cli.Group(flags, cli.FlagsPipelines, "engine", "path", "pattern", "watch", "env-file")
}

// check refuses what contradicts itself.
func (p *pipelines) check() error {
	if p.path == "" && (p.watch || len(p.envFiles) > 0 || p.flag.Flags().Changed("pattern")) {
		return errors.New("cannot use --watch, --pattern or --env-file without --path: they are about its files")
	}
	return nil
}

// startEngine starts the engine, if there is to be one, and puts in the files'
// pipelines.
func (s *command) startEngine(ctx context.Context) error {
	p := &s.pipelines
	if !p.flag.Flags().Changed("engine") {
		p.on = s.server != nil
	}
	if s.simulate > 0 {
		p.on = p.on && p.flag.Flags().Changed("engine")
	}
	if !p.on && p.path == "" {
		return nil
	}
	var err error
	if p.nc, err = s.target.Connect(nats.Name("runnel engine "+s.cfg.Name), nats.ReconnectBufSize(-1)); err != nil {
		return err
	}
	js, err := s.target.JetStream(p.nc)
	if err != nil {
		return err
	}
	if p.on {
		cfg := pipeline.Config{
			Prefix: s.Prefix, Name: s.cfg.Name, JetStream: js, Replicas: s.cfg.Replicas, ReplyPrefixes: s.cfg.ReplyPrefixes, Logger: s.Log,
		}
		if s.dropIn != nil { // whose tasks run here, and start where it did
			cfg.Runner = s.cfg.Name
			if cfg.Dir, err = os.Getwd(); err != nil {
				return err
			}
		}
		p.engine, err = pipeline.Start(ctx, p.nc, cfg)
		if err != nil {
			return err
		}
	}
	if p.path == "" {
		return nil
	}
	c, err := client.New(p.nc, client.Options{Prefix: s.Prefix, JetStream: js})
	if err != nil {
		return err
	}
	p.source = &source.Files{Dir: p.path, Pattern: p.pattern, EnvFiles: p.envFiles, Host: s.cfg.Name, Logger: s.Log}
	if _, err := p.source.Apply(ctx, c); err != nil {
		return fmt.Errorf("cannot put in the pipelines of %s: %w", p.path, err)
	}
	p.follow(c)
	return nil
}

// follow reads the files again when they change, or when a signal says so.
func (p *pipelines) follow(c *client.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.reload = cancel, make(chan struct{}, 1)
	p.wg.Go(func() {
		if p.watch {
			if err := p.source.Watch(ctx, c, p.reload); err != nil {
				p.source.Logger.Error("the pipelines' files are not watched", "error", err)
			}
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.reload:
				if _, err := p.source.Apply(ctx, c); err != nil {
					p.source.Logger.Error("pipelines stay as they were", "error", err)
				}
			}
		}
	})
}

// again has the files read again.
func (p *pipelines) again() {
	select {
	case p.reload <- struct{}{}:
	default: // also where there are none
	}
}

func (p *pipelines) close() {
	if p.cancel != nil {
		p.cancel()
		await(&p.wg, endPatience)
	}
	if p.engine != nil {
		p.engine.Close()
	}
	if p.nc != nil {
		p.nc.Close()
	}
}
