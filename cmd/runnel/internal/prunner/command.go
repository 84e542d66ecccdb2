// Package prunner is the command line of the program of that name: its flags, its
// environment, its configuration file and its exit codes, over a server of ours.
package prunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/serve"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/pipeline/source"
)

// exitCode of every failure: that program knew no other.
const exitCode = 1

// Asked says whether a command line is for this package: the program is called
// prunner, or it is `runnel gateway --prunner …`. It gives the arguments without
// what says so.
func Asked(argv []string) (args []string, yes bool) {
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if name == "prunner" {
		return argv[1:], true
	}
	if len(argv) < 2 || argv[1] != "gateway" {
		return nil, false
	}
	for _, arg := range argv[2:] {
		if arg == "--prunner" {
			yes = true
			continue
		}
		args = append(args, arg)
	}
	return args, yes
}

// command is what the flags say.
type command struct {
	*app.App
	drop    serve.DropIn
	config  string
	secret  string
	plain   bool
	version string
}

// Run runs a command line; version is what `prunner version` prints.
func Run(ctx context.Context, a *app.App, args []string, version string) error {
	c := &command{App: a, version: version}
	root := c.root()
	root.SetArgs(twoDashes(root.PersistentFlags(), args))
	err := root.ExecuteContext(ctx)
	var exit *cli.ExitError
	if err == nil || errors.As(err, &exit) && exit.Code == exitCode {
		return err
	}
	return &cli.ExitError{Code: exitCode, Message: err.Error(), Hurried: true}
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "prunner",
		Short: "Serve pipelines over HTTP, in the place of prunner",
		Long: `Serve pipelines over HTTP, in the place of prunner

The flags, their environment variables, the configuration file and the signals are
those of prunner: SIGINT waits for running jobs, SIGTERM cancels them, SIGUSR1 reads
the pipelines again. Jobs and logs of its data directory are read at the first start.`,
		Example: `  prunner --path Packages --data Data/prunner
  prunner debug                         print a token`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.ApplyEnv(cmd.Root().PersistentFlags()); err != nil {
				return err
			}
			return c.logTo()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context()) },
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	c.addFlags(root.PersistentFlags())
	root.AddGroup(&cobra.Group{ID: cli.GroupOther, Title: "Commands"}) // help is in it
	root.AddCommand(
		&cobra.Command{Use: "debug", Short: "Print a token for the HTTP API", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return c.debug() }},
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.Out, c.version)
			return err
		}},
	)
	cli.StyleHelp(root)
	return root
}

func (c *command) addFlags(flags *pflag.FlagSet) {
	d := &c.drop
	flags.BoolVarP(&d.Verbose, "verbose", "v", false, "log more")
	flags.BoolVar(&c.plain, "disable-ansi", false, "log plain lines on a terminal, too")
	flags.BoolVar(&d.Profiling, "enable-profiling", false, "serve /debug/pprof to this host")
	flags.StringVar(&c.config, "config", ".prunner.yml", "`FILE` with the jwt_secret; made when there is none and no --jwt-secret")
	flags.StringVar(&c.secret, "jwt-secret", "", "`SECRET` that tokens are signed with, 16 characters at least")
	flags.StringVar(&d.Data, "data", ".prunner", "`DIRECTORY` for jobs and logs")
	flags.StringVar(&d.Pattern, "pattern", source.DefaultPattern, "which files below --path have pipelines: `GLOB`")
	flags.StringVar(&d.Path, "path", ".", "`DIRECTORY` to look for pipelines in")
	flags.StringVar(&d.Address, "address", "localhost:9009", "listen on `HOST:PORT`")
	flags.StringSliceVar(&d.EnvFiles, "env-files", []string{".env", ".env.local"}, "`FILES` of NAME=value lines for the tasks' environment, the later ones\ncount; empty for none")
	flags.BoolVar(&d.Watch, "watch", false, "read the pipelines again when their files change")
	flags.DurationVar(&d.Poll, "poll-interval", 30*time.Second, "look for changes this often, with --watch, where the system does not\ntell of them")
	flags.VisitAll(func(f *pflag.Flag) {
		cli.BindEnv(flags, f.Name, "PRUNNER_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")))
	})
}

// logTo makes the log as the flags say.
func (c *command) logTo() error {
	if c.plain {
		c.ErrLook.Terminal, c.ErrLook.Colour = false, false
	}
	level := slog.LevelInfo
	if c.drop.Verbose {
		level = slog.LevelDebug
	}
	return c.SetLogger(level)
}

func (c *command) serve(ctx context.Context) (err error) {
	if runtime.GOOS == "windows" {
		return errors.New("cannot stand in for prunner on Windows: use runnel serve --http and --path")
	}
	if c.drop.Secret, err = c.readSecret(); err != nil {
		return err
	}
	c.drop.EnvFiles = withoutEmpty(c.drop.EnvFiles)
	if text, found := os.LookupEnv("PRUNNER_ENV_FILES"); found && text == "" {
		c.drop.EnvFiles = nil
	}
	return c.drop.Run(ctx, c.App)
}

// debug prints a token, for a person or, with MINIMAL_OUTPUT=1, for a script.
func (c *command) debug() error {
	secret, err := c.readSecret()
	if err != nil {
		return err
	}
	token, err := auth.Token(secret, "", nil, 0)
	if err != nil {
		return err
	}
	if os.Getenv("MINIMAL_OUTPUT") == "1" {
		_, err = fmt.Fprintf(c.Out, "Bearer %s", token)
	} else {
		_, err = fmt.Fprintf(c.Out, "Send this HTTP header:\n    Authorization: Bearer %s\n", token)
	}
	return err
}

func withoutEmpty(list []string) (kept []string) {
	for _, s := range list {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

// twoDashes takes long flags with one dash, as that program did.
func twoDashes(flags *pflag.FlagSet, args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && name[0] != '-' && arg[0] == '-' && (flags.Lookup(name) != nil || name == "help") {
			arg = "-" + arg
		}
		out[i] = arg
	}
	return out
}
