package web

import (
	"github.com/runnel-io/runnel/service/gateway/auth"

	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/pipeline"
)

// gatewayCommand is `runnel gateway`: the fleet over HTTP.
type gatewayCommand struct {
	*app.App
	flags     Flags
	addresses []string
	data      string
	engine    bool
}

// NewCommand makes the command, `runnel gateway token` and `runnel gateway link`.
func NewCommand(a *app.App) *cobra.Command {
	g := &gatewayCommand{App: a}
	cmd := &cobra.Command{
		Use:     "gateway",
		GroupID: cli.GroupServe,
		Short:   "Serve the fleet over HTTP",
		Example: `  runnel gateway                        on 127.0.0.1:9009
  runnel gateway --http :9009 --jwt-secret-file /etc/runnel/jwt-secret
  runnel gateway token --scope read,jobs --sub alice
  runnel gateway link                   a link to sign in with, once`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command \"gateway %s\" (see runnel gateway --help)", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return g.serve(cmd.Context()) },
	}
	cmd.Flags().StringArrayVar(&g.addresses, "http", nil, "listen on `HOST:PORT`; may be repeated (default \""+DefaultAddress+"\")")
	cmd.Flags().StringVar(&g.data, "data", "", "`DIRECTORY` of the secret's file (default ~/.local/share/runnel)")
	cmd.Flags().BoolVar(&g.engine, "engine", false, "run pipelines too, or stand by to take over")
	cmd.Flags().Bool("prunner", false, "stand in for prunner: takes its flags and environment, and has a\nrunner and NATS inside (see runnel gateway --prunner --help)")
	cli.Group(cmd.Flags(), cli.FlagsWhere, "http", "data", "engine", "prunner")
	g.flags.Add(cmd)
	cli.BindEnvAll(cmd)
	cmd.AddCommand(newTokenCommand(a), newLinkCommand(a))
	return cmd
}

func (g *gatewayCommand) serve(ctx context.Context) (err error) {
	if err := g.SetLogger(slog.LevelInfo); err != nil {
		return err
	}
	dir, err := dataDir(g.data)
	if err != nil {
		return err
	}
	cfg, err := g.flags.Config(dir)
	if err != nil {
		return err
	}
	if len(g.addresses) == 0 {
		g.addresses = []string{DefaultAddress}
	}
	ctx, stop := cli.OnInterrupt(ctx)
	defer stop()
	return g.WithSession(ctx, func(ctx context.Context, s *app.Session) (err error) {
		nc, err := s.Target.Connect(nats.Name("runnel gateway"), nats.MaxReconnects(-1))
		if err != nil {
			return err
		}
		defer nc.Close()
		if cfg.JetStream, err = s.Target.JetStream(nc); err != nil {
			return err
		}
		cfg.Prefix, cfg.Logger = s.Space().Prefix(), g.Log
		if g.engine {
			engine, err := pipeline.Start(ctx, nc, pipeline.Config{Prefix: cfg.Prefix, JetStream: cfg.JetStream, Logger: g.Log})
			if err != nil {
				return err
			}
			defer engine.Close()
		}
		gw, err := gateway.New(ctx, nc, cfg)
		if err != nil {
			return err
		}
		defer gw.Close()
		server, err := Listen(g.addresses, gw.Handler(), g.Log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		g.Say("gateway on %s", strings.Join(server.URLs(), " and "))
		Welcome(ctx, g.App, gw, server.URLs())
		<-ctx.Done()
		gw.Stop()
		return nil
	})
}

// dataDir is the directory of a flag, or the user's own.
func dataDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	dir, err := connect.UserDataDir()
	if err != nil {
		return "", fmt.Errorf("%w; give one with --data", err)
	}
	return dir, nil
}

// newTokenCommand is `runnel gateway token`.
func newTokenCommand(a *app.App) *cobra.Command {
	var (
		flags  Flags
		scopes []string
		sub    string
		life   time.Duration
		data   string
	)
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Print a token for the gateway",
		Example: "  runnel gateway token --scope read --sub grafana\n  runnel gateway token --scope admin --for 1h",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := dataDir(data)
			if err != nil {
				return err
			}
			secret, err := flags.Secret(dir)
			if err != nil {
				return err
			}
			list, err := scopesOf("scope", scopes)
			if err != nil {
				return err
			}
			token, err := auth.Token(secret, sub, list, life)
			if err == nil {
				_, err = fmt.Fprintln(a.Out, token)
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what it allows: `SCOPES` of read, jobs, code, run, admin (default: what\nthe gateway allows tokens without)")
	cmd.Flags().StringVar(&sub, "sub", app.UserName(), "its user: `NAME`")
	cmd.Flags().DurationVar(&life, "for", 0, "how long it is valid (default for ever)")
	cmd.Flags().StringVar(&data, "data", "", "`DIRECTORY` of the secret's file (default ~/.local/share/runnel)")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "scope", "sub", "for", "data")
	flags.Add(cmd)
	cli.BindEnvAll(cmd)
	cli.CompleteValues(cmd, "scope", "read", "jobs", "code", "run", "admin")
	return cmd
}
