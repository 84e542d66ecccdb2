package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

type settings struct {
	Name   string
	Slots  int
	Drain  time.Duration
	Sync   bool
	Pools  []string
	Labels map[string]string
}

func (s *settings) flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.StringVar(&s.Name, "name", "", "")
	flags.IntVar(&s.Slots, "slots", 1, "")
	flags.DurationVar(&s.Drain, "drain-timeout", 0, "")
	flags.BoolVar(&s.Sync, "sync-always", false, "")
	flags.StringArrayVar(&s.Pools, "pool", nil, "")
	flags.StringToStringVar(&s.Labels, "label", nil, "")
	flags.String("config", "", "")
	return flags
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigSetsFlags(t *testing.T) {
	path := writeConfig(t, `
# a comment
name: "007"          # stays a string
slots: 16
drainTimeout: 1m30s
syncAlways: true
pools: [web, "a=b"]
labels:
  env: prod
  rack: 12
  empty: ""
rules:
  deep: [1, 2]
`)
	var got settings
	var section struct{ Deep []int }
	if err := ApplyConfig(path, got.flags(), map[string]any{"rules": &section}); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Name: "007", Slots: 16, Drain: 90 * time.Second, Sync: true, Pools: []string{"web", "a=b"},
		Labels: map[string]string{"env": "prod", "rack": "12", "empty": ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 2}, section.Deep); diff != "" {
		t.Errorf("section (-want +got):\n%s", diff)
	}
}

func TestCommandLineComesBeforeTheFile(t *testing.T) {
	path := writeConfig(t, "slots: 16\nname: file\npools: [file]\n")
	var got settings
	flags := got.flags()
	if err := flags.Parse([]string{"--slots", "2", "--pool", "flag"}); err != nil {
		t.Fatal(err)
	}
	if err := ApplyConfig(path, flags, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(settings{Name: "file", Slots: 2, Pools: []string{"flag"}}, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// A value that can't be is an error, even where the command line hides it.
func TestHiddenValueIsReadAllTheSame(t *testing.T) {
	for text, want := range map[string]string{
		"slots: many\n": "1:8: slots: it is a whole number", "drainTimeout: soon\n": `1:15: drainTimeout: it is a duration with a unit`,
		"syncAlways: perhaps\n": "1:13: syncAlways: it is true or false", "name: [a]\n": "1:7: one value is expected, not a list",
		"labels: [env]\n": "", "slots: 16\n": "",
	} {
		var got settings
		flags := got.flags()
		if err := flags.Parse([]string{"--slots", "2", "--drain-timeout", "3s", "--sync-always", "--name", "flag", "--label", "a=b"}); err != nil {
			t.Fatal(err)
		}
		err := ApplyConfig(writeConfig(t, text), flags, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
		if diff := cmp.Diff(settings{Name: "flag", Slots: 2, Drain: 3 * time.Second, Sync: true, Labels: map[string]string{"a": "b"}}, got); diff != "" {
			t.Errorf("%q: settings (-want +got):\n%s", text, diff)
		}
	}
}

func TestConfigErrorsSayWhere(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"unknown":          {"name: a\nslotz: 3\n", `2:1: unknown setting "slotz"`},
		"flag's spelling":  {"drain-timeout: 3s\n", `1:1: unknown setting "drain-timeout"`},
		"a file in a file": {"config: other.yml\n", `1:1: unknown setting "config"`},
		"not a number":     {"slots: many\n", `1:8: slots: it is a whole number`},
		"not a duration":   {"name: x\ndrainTimeout: soon\n", `2:15: drainTimeout: it is a duration with a unit`},
		"a list":           {"slots: [1]\n", `1:8: one value is expected, not a list`},
		"a mapping":        {"name: {a: b}\n", `one value is expected, not a mapping`},
		"a list of lists":  {"pools: [[a]]\n", `one value is expected, not a list`},
		"twice":            {"name: a\nname: b\n", `2:1: mapping key "name" already defined at [1:1]`},
		"no mapping":       {"- a\n", `a mapping of settings is expected`},
		"no YAML":          {"name: [a\n", `1:7: `},
		"in a section":     {"rules:\n  deep: [1]\n  shallow: 2\n", `3:3: unknown field "shallow"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeConfig(t, test.text)
			var s settings
			var section struct{ Deep []int }
			err := ApplyConfig(path, s.flags(), map[string]any{"rules": &section})
			if err == nil || !strings.HasPrefix(err.Error(), "cannot use configuration "+path+":") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want the file and %s", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), "^") {
				t.Errorf("got %v, want a caret under the place", err)
			}
		})
	}
}

func TestEmptyConfigIsFine(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "name:\n"} {
		var s settings
		if err := ApplyConfig(writeConfig(t, text), s.flags(), nil); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The plural of a word that ends in x is -es.
func TestPlurals(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	prefixes := flags.StringArray("reply-prefix", nil, "")
	if err := ApplyConfig(writeConfig(t, "replyPrefixes: [acme.inbox, team7]"), flags, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"acme.inbox", "team7"}, *prefixes); diff != "" {
		t.Error(diff)
	}
}
