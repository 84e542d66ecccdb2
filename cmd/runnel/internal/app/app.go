// Package app is what every command gets: its streams, the global flags, the
// logger, and a session with the fleet.
package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/subjects"
)

// Stdio is what a command reads and writes.
type Stdio struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// App is what all commands share: the streams, the global flags and, once the
// flags are read, the logger.
type App struct {
	Stdio
	Look     term.Look // of standard output
	ErrLook  term.Look // of standard error
	Log      *slog.Logger
	logLevel string
	Prefix   string
	Conn     connect.Flags
	// TabPatience is how long a shell waits for what the fleet knows.
	TabPatience time.Duration
	giveUp      atomic.Pointer[context.CancelCauseFunc] // ends what waits for an answer
	// Again reads the same command line into another app: a server that reloads.
	Again func(*App) error
	// Configured, if set, is given the configuration of a server, which then serves nothing.
	Configured func(service.Config)
}

// New makes an app that writes to std.
func New(std Stdio) *App {
	std.Out = &output{Writer: std.Out}
	a := &App{Stdio: std, Look: term.LookOf(std.Out), ErrLook: term.LookOf(std.Err), Log: slog.New(slog.DiscardHandler), TabPatience: completePatience}
	var once sync.Map
	a.Conn.Say = a.Say
	a.Conn.Denied = func(err *connect.DeniedError, awaited bool) {
		if give := a.giveUp.Load(); awaited && give != nil {
			(*give)(err)
		} else if _, said := once.LoadOrStore(err.Error(), true); !said {
			a.Say("%v", err)
		}
	}
	return a
}

// AddGlobalFlags gives the flags of all commands to the root.
func (a *App) AddGlobalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	a.Conn.Add(root)
	flags.StringVar(&a.logLevel, "log-level", "", "what to log on standard error: `LEVEL` is debug, info, warn or error")
	flags.StringVar(&a.Prefix, "prefix", "", "the fleet's subject `PREFIX` (default \""+subjects.DefaultPrefix+"\")")
	cli.Group(flags, cli.FlagsGlobal, "log-level", "prefix")
	cli.CompleteValues(root, "log-level", "debug", "info", "warn", "error")
	cli.BindEnv(flags, "log-level", "RUNNEL_LOG_LEVEL")
	cli.BindEnv(flags, "prefix", "RUNNEL_PREFIX")
}

// Prepare runs before every command, but not before its help.
func (a *App) Prepare(cmd *cobra.Command) error {
	// A command's own flag may have the name of a global one: that one's
	// variable still counts.
	for _, flags := range []*pflag.FlagSet{cmd.Root().PersistentFlags(), cmd.Flags()} {
		if err := cli.ApplyEnv(flags); err != nil {
			return err
		}
	}
	if err := refuseEmpty(cmd.Flags()); err != nil {
		return err
	}
	return a.SetLogger(slog.LevelWarn)
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

// SetLogger makes the logger, of the level asked for or else the default one.
func (a *App) SetLogger(level slog.Level) error {
	if a.logLevel != "" {
		if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
			return fmt.Errorf("cannot use log level %q: it is debug, info, warn or error", a.logLevel)
		}
	}
	a.Log = slog.New(a.logHandler(level))
	return nil
}

// logHandler is for people on a terminal, and for programs elsewhere.
func (a *App) logHandler(level slog.Level) slog.Handler {
	if a.ErrLook.Terminal {
		return tint.NewTextHandler(a.Err, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !a.ErrLook.Colour})
	}
	return slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: level})
}

// Say writes a line about what goes on to standard error.
func (a *App) Say(format string, args ...any) {
	fmt.Fprintf(a.Err, "runnel: "+format+"\n", args...)
}

// space is the fleet that the flags name, or else the one of the server that
// was found.
func (a *App) space(t *connect.Target) (subjects.Space, error) {
	prefix := a.Prefix
	if prefix == "" && t != nil {
		prefix = t.Prefix
	}
	return subjects.New(prefix)
}

// UserName is who runs this command.
func UserName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
