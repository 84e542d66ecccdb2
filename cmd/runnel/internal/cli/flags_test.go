package cli

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestNamesOfVariables(t *testing.T) {
	for flag, want := range map[string]string{"name": "RUNNEL_NAME", "drain-timeout": "RUNNEL_DRAIN_TIMEOUT", "x": "RUNNEL_X"} {
		if got := envName(flag); got != want {
			t.Errorf("%s: got %s, want %s", flag, got, want)
		}
	}
}

// A key of a file, the flag and the variable are three spellings of one name.
func TestKeysAreFlags(t *testing.T) {
	for key, want := range map[string]string{"drainTimeout": "drain-timeout", "name": "name", "cpuTimeMax": "cpu-time-max", "A": "-a", "": ""} {
		if got := FlagName(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

// FlagName has an inverse: no two keys mean one flag.
func TestKeysDoNotMeet(t *testing.T) {
	key := func(flag string) string {
		words := strings.Split(flag, "-")
		for i := 1; i < len(words); i++ {
			words[i] = strings.ToUpper(words[i][:min(1, len(words[i]))]) + words[i][min(1, len(words[i])):]
		}
		return strings.Join(words, "")
	}
	check := func(seed []uint8) bool {
		var name strings.Builder
		for i, b := range seed {
			if b%5 == 0 && i > 0 {
				name.WriteByte('A' + b%26)
			} else {
				name.WriteByte('a' + b%26)
			}
		}
		return key(FlagName(name.String())) == name.String()
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestFlagsOfKeys(t *testing.T) {
	var s settings
	flags := s.flags()
	for key, want := range map[string]string{
		"name": "name", "drainTimeout": "drain-timeout", "pools": "pool", "pool": "pool", "labels": "label",
		"drain-timeout": "", "drain_timeout": "", "help": "", "config": "", "nosuch": "", "names": "", "slotss": "", "": "",
	} {
		got := ""
		if f := FlagOfKey(flags, key); f != nil {
			got = f.Name
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func TestVariablesSetFlags(t *testing.T) {
	for variable, value := range map[string]string{
		"RUNNEL_NAME": "web1", "RUNNEL_SLOTS": "8", "RUNNEL_DRAIN_TIMEOUT": "1m", "RUNNEL_POOL": "a,b", "RUNNEL_LABEL": "env=prod,zone=a",
	} {
		t.Setenv(variable, value)
	}
	var s settings
	cmd := &cobra.Command{Use: "x"}
	cmd.Flags().AddFlagSet(s.flags())
	BindEnvAll(cmd)
	if err := cmd.Flags().Parse([]string{"--slots", "2"}); err != nil {
		t.Fatal(err)
	}
	if err := ApplyEnv(cmd.Flags()); err != nil {
		t.Fatal(err)
	}
	want := settings{Name: "web1", Slots: 2, Drain: 60e9, Pools: []string{"a", "b"}, Labels: map[string]string{"env": "prod", "zone": "a"}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("the command line prevails (-want +got):\n%s", diff)
	}
}

func TestEmptyVariablesAreNone(t *testing.T) {
	t.Setenv("RUNNEL_SLOTS", "")
	var s settings
	flags := s.flags()
	BindEnv(flags, "slots", "RUNNEL_SLOTS")
	if err := ApplyEnv(flags); err != nil || s.Slots != 1 || flags.Lookup("slots").Changed {
		t.Errorf("got %d, %v, want the default", s.Slots, err)
	}
}

func TestBadVariablesAreNamed(t *testing.T) {
	for variable, c := range map[string]struct{ value, want string }{
		"RUNNEL_SLOTS":         {"many", `cannot use RUNNEL_SLOTS="many": it is a whole number`},
		"RUNNEL_DRAIN_TIMEOUT": {"soon", `cannot use RUNNEL_DRAIN_TIMEOUT="soon": it is a duration with a unit, such as 30s or 1h30m`},
		"RUNNEL_SYNC_ALWAYS":   {"perhaps", `cannot use RUNNEL_SYNC_ALWAYS="perhaps": it is true or false`},
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, c.value)
			var s settings
			cmd := &cobra.Command{Use: "x"}
			cmd.Flags().AddFlagSet(s.flags())
			BindEnvAll(cmd)
			if err := ApplyEnv(cmd.Flags()); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A comma in a value is part of it.
func TestKeyValues(t *testing.T) {
	var got map[string]string
	value := KeyValues{To: &got}
	for _, text := range []string{"a=1,2", "b=", "c=x=y", "a=3"} {
		if err := value.Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "3", "b": "", "c": "x=y"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{"", "a", "=1", "="} {
		if err := value.Set(text); err == nil || err.Error() != "it is K=V" {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if value.Type() != "stringToString" || value.String() != "" {
		t.Errorf("got %s, %q", value.Type(), value.String())
	}
}

func TestKeyValuesOnACommandLine(t *testing.T) {
	var got map[string]string
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.Var(KeyValues{To: &got}, "tag", "")
	if err := flags.Parse([]string{"--tag", "a=1", "--tag=b=2,3"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2,3"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := flags.Parse([]string{"--tag", "a"}); err == nil || !strings.Contains(err.Error(), "it is K=V") {
		t.Errorf("got %v", err)
	}
}
