// Package cli is the mechanism of the command line: flags that the environment
// and a configuration file can set, help, completion, signals, and errors that
// end the process. It knows nothing of NATS or of runs.
package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Annotations of a flag.
const (
	envAnnotation   = "runnel_env"
	groupAnnotation = "runnel_group"
)

// BindEnv makes the environment variable set the flag when the command line
// does not.
func BindEnv(flags *pflag.FlagSet, name, variable string) {
	annotate(flags, name, envAnnotation, variable)
}

// BindEnvAll binds every local flag of a command to RUNNEL_<NAME>. It is for
// servers: the environment of a run is its runner's, and a `runnel run` in
// there should not be steered by it.
func BindEnvAll(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			BindEnv(flags, f.Name, envName(f.Name))
		}
	})
}

func envName(flag string) string {
	return "RUNNEL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// envOf is the variable that sets the flag; empty if none does.
func envOf(f *pflag.Flag) string {
	if v := f.Annotations[envAnnotation]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// ApplyEnv sets what the command line left unset. An empty variable counts as
// one that isn't there.
func ApplyEnv(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		variable := envOf(f)
		if f.Changed || variable == "" || failed != nil {
			return
		}
		value := os.Getenv(variable)
		if value == "" {
			return
		}
		values := []string{value}
		if kind := f.Value.Type(); kind == "stringArray" || kind == "stringToString" {
			values = strings.Split(value, ",") // what may be repeated on the command line
		}
		for _, value := range values {
			if err := flags.Set(f.Name, value); err != nil {
				failed = fmt.Errorf("cannot use %s=%q: %w", variable, value, plainFlagError(err))
				return
			}
		}
	})
	return failed
}

const aDuration = "it is a duration with a unit, such as 30s or 1h30m"

// plainFlagError strips what pflag says of the flag and the value, and what
// strconv says of itself, for an error that names both.
func plainFlagError(err error) error {
	if e := (*pflag.InvalidValueError)(nil); errors.As(err, &e) {
		err = e.Unwrap()
	}
	if e := (*strconv.NumError)(nil); errors.As(err, &e) {
		if strings.HasPrefix(e.Func, "ParseB") {
			return errors.New("it is true or false")
		}
		return errors.New("it is a whole number")
	}
	if err != nil && strings.HasPrefix(err.Error(), "time: ") {
		return errors.New(aDuration)
	}
	return err
}

func annotate(flags *pflag.FlagSet, name, key, value string) {
	if err := flags.SetAnnotation(name, key, []string{value}); err != nil {
		panic("no flag of that name: " + name) // a slip of ours, seen by any test
	}
}

// KeyValues are the values of a flag K=V that may be repeated. pflag's own would take
// a comma in a value for the end of it.
type KeyValues struct{ To *map[string]string }

func (p KeyValues) Type() string { return "stringToString" }

func (p KeyValues) String() string { return "" }

func (p KeyValues) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return errors.New("it is K=V")
	}
	if *p.To == nil {
		*p.To = map[string]string{}
	}
	(*p.To)[key] = value
	return nil
}
