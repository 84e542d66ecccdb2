package main

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/subjects"
)

// app is what all commands share: the streams, the global flags and, once the
// flags are read, the logger.
type app struct {
	stdio
	look     look // of standard output
	errLook  look // of standard error
	log      *slog.Logger
	logLevel string
	prefix   string
	conn     connectFlags
	// again reads the same command line into another app: a server that reloads.
	again func(*app) error
	// configured, if set, is given the configuration of a server, which then serves nothing.
	configured func(service.Config)
}

func newApp(std stdio) *app {
	a := &app{stdio: std, look: lookOf(std.out), errLook: lookOf(std.err), log: slog.New(slog.DiscardHandler)}
	var once sync.Map
	a.conn.say = a.say
	a.conn.denied = func(err error) {
		_, what, _ := strings.Cut(err.Error(), "Permissions Violation for ")
		if _, said := once.LoadOrStore(what, true); !said {
			a.say("the server does not permit this user to %s", strings.NewReplacer("Publish to", "publish on", "Subscription to", "subscribe to").Replace(what))
		}
	}
	return a
}

// The groups that `runnel help` shows.
const (
	groupRun   = "run"
	groupFleet = "fleet"
	groupServe = "serve"
	groupOther = "other"
)

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "runnel",
		Short: "Run commands, look at hosts and keep clocks right across a fleet, over NATS",
		Example: `  runnel run -- echo hello        with no server: all inside this command
  runnel serve                    a runner on this machine, with NATS built in
  runnel run --all -- uptime      on every runner, from another terminal`,
		Args:              knownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true, // main reports them
		SilenceUsage:      true,
		TraverseChildren:  true, // `runnel --timeout 2s run --timeout 1h` is two things
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Runs"},
		&cobra.Group{ID: groupFleet, Title: "The fleet"},
		&cobra.Group{ID: groupServe, Title: "Servers"},
		&cobra.Group{ID: groupOther, Title: "Other"},
	)
	a.addGlobalFlags(root)
	root.AddCommand(
		newRunCommand(a),
		newCodeCommand(a),
		newLogsCommand(a),
		newShowCommand(a),
		newPsCommand(a),
		newWaitCommand(a),
		newAbortCommand(a),
		newRmCommand(a),
		newListCommand(a),
		newForgetCommand(a),
		newGlanceCommand(a),
		newMaintCommand(a),
		newBenchCommand(a),
		newServeCommand(a),
		newVersionCommand(a),
	)
	addCompletion(root, a)
	addMan(root)
	styleHelp(root)
	return root
}

// knownCommand refuses what is no command, and says which one was meant.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no command %q (see runnel --help)", args[0])
}

func (a *app) addGlobalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	a.conn.add(root)
	flags.StringVar(&a.logLevel, "log-level", "", "what to log on standard error: `LEVEL` is debug, info, warn or error")
	flags.StringVar(&a.prefix, "prefix", "", "the fleet's subject `PREFIX` (default \""+subjects.DefaultPrefix+"\")")
	groupFlags(flags, flagsGlobal, "log-level", "prefix")
	completeValues(root, "log-level", "debug", "info", "warn", "error")
	bindEnv(flags, "log-level", "RUNNEL_LOG_LEVEL")
	bindEnv(flags, "prefix", "RUNNEL_PREFIX")
}

// prepare runs before every command, but not before its help.
func (a *app) prepare(cmd *cobra.Command) error {
	// A command's own flag may have the name of a global one: that one's
	// variable still counts.
	for _, flags := range []*pflag.FlagSet{cmd.Root().PersistentFlags(), cmd.Flags()} {
		if err := applyEnv(flags); err != nil {
			return err
		}
	}
	if err := refuseEmpty(cmd.Flags()); err != nil {
		return err
	}
	return a.setLogger(slog.LevelWarn)
}

// refuseEmpty: a value that is given and empty is most often a variable that is
// not set, and must not mean "any".
func refuseEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "password" {
			err = fmt.Errorf("cannot use --%s %q: it is empty", f.Name, "")
		}
	})
	return err
}

// setLogger makes the logger, of the level asked for or else the default one.
func (a *app) setLogger(level slog.Level) error {
	if a.logLevel != "" {
		if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
			return fmt.Errorf("cannot use log level %q: it is debug, info, warn or error", a.logLevel)
		}
	}
	a.log = slog.New(a.logHandler(level))
	return nil
}

// logHandler is for people on a terminal, and for programs elsewhere.
func (a *app) logHandler(level slog.Level) slog.Handler {
	if a.errLook.terminal {
		return tint.NewTextHandler(a.err, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !a.errLook.colour})
	}
	return slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})
}

// say writes a line about what goes on to standard error.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, "runnel: "+format+"\n", args...)
}

// space is the fleet that the flags name, or else the one of the server that
// was found.
func (a *app) space(t *target) (subjects.Space, error) {
	prefix := a.prefix
	if prefix == "" && t != nil {
		prefix = t.prefix
	}
	return subjects.New(prefix)
}
