package lang

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/service/limits"
)

// Row is one language, as an operator writes it.
//
// In argv, env and the words of Compile and Run, these stand for what is known
// only later: {program} is the toolchain's program, {home} its folder (see
// Probe), {source} the first file and {stem} that without its extension,
// {sources} all files beside it with its extension (a word of its own), {dir}
// the program's directory, {out} the one for what Compile makes, {cache} the
// warm directory (see Warm).
type Row struct {
	// Name of the language: small letters, digits, "+", "-" and "_".
	Name string `yaml:"name"`
	// Aliases are other names for it.
	Aliases []string `yaml:"aliases,omitempty"`
	// Programs to look for in the runner's PATH, as names or patterns such as
	// "lua5.[0-9]". Those that the probe takes are the versions that there are,
	// the first one found being what a request gets that names none.
	Programs []string `yaml:"programs"`
	// Probe is a shell's text that is given a program as $1. The first line it
	// prints has the version in it; the second, if any, is the program to use
	// instead of $1; all others are folders that a strict run must see, of
	// which the first is {home}. Default: "$1" --version.
	Probe string `yaml:"probe,omitempty"`
	// Source is the name of a source that comes without one.
	Source string `yaml:"source"`
	// Compile is the compiler's command line. Empty: Run takes the source.
	Compile []string `yaml:"compile,omitempty"`
	// Run is the program's command line, less its own arguments.
	Run []string `yaml:"run"`
	// Env is the environment of both steps, beside a PATH.
	Env map[string]string `yaml:"env,omitempty"`
	// Warm is a source that is compiled once, with {cache} writable.
	Warm string `yaml:"warm,omitempty"`
	// WarmUp lists command lines that fill {cache}, each an empty one of its own, beside Warm and after
	// it. They are run once, one after the other, in the background; what the last one made is shown to
	// compile steps. A first one that is quick spares the first program the wait for all.
	WarmUp [][]string `yaml:"warmUp,omitempty"`
	// Limits where neither task nor policy has one, and the host can hold them.
	Limits struct {
		Compile limits.Set `yaml:"compile,omitempty"`
		Run     limits.Set `yaml:"run,omitempty"`
	} `yaml:"limits,omitempty"`
}

// What a step is held to if its row says nothing else. A compiler has an end to
// come to; how long a program may run is the task's matter and the policy's.
var (
	compileLimits = limits.Text{limits.MemoryMax: "2G", limits.PidsMax: "512", limits.FileSize: "256M", limits.OutputBytes: "1M", limits.WallTime: "1m"}
	runLimits     = limits.Text{limits.MemoryMax: "2G", limits.PidsMax: "256"}
)

var (
	rowName     = regexp.MustCompile(`^[a-z0-9][a-z0-9+_-]*$`)
	placeholder = regexp.MustCompile(`\{[a-z]+\}`)
	known       = []string{"{program}", "{home}", "{source}", "{stem}", "{sources}", "{dir}", "{out}", "{cache}"}
)

// check says what is wrong with a row.
func (r *Row) check() error {
	for _, name := range append([]string{r.Name}, r.Aliases...) {
		if !rowName.MatchString(name) {
			return fmt.Errorf("name %q is not of small letters, digits, +, - and _", name)
		}
	}
	switch {
	case len(r.Programs) == 0:
		return fmt.Errorf("programs is empty: which are to be looked for?")
	case len(r.Run) == 0:
		return fmt.Errorf("run is empty: it is the program's command line")
	case !isName(r.Source):
		return fmt.Errorf("source %q is not the name of a file", r.Source)
	case len(r.stages()) > 0 && len(r.Compile) == 0:
		return fmt.Errorf("warm goes with compile")
	}
	for _, pattern := range r.Programs {
		if _, err := filepath.Match(pattern, ""); err != nil || strings.Contains(pattern, "/") && !filepath.IsAbs(pattern) {
			return fmt.Errorf("programs: %q is neither a name, nor a pattern of names, nor an absolute path", pattern)
		}
	}
	for _, word := range slices.Concat(r.Compile, r.Run, slices.Concat(r.WarmUp...)) {
		for _, found := range placeholder.FindAllString(word, -1) {
			if !slices.Contains(known, found) {
				return fmt.Errorf("%s in %q stands for nothing; there are %s", found, word, strings.Join(known, ", "))
			}
		}
		if strings.Contains(word, "{sources}") && word != "{sources}" {
			return fmt.Errorf("{sources} in %q must be a word of its own", word)
		}
	}
	return nil
}

// stages are the command lines of the warm-up.
func (r *Row) stages() [][]string {
	if r.Warm == "" {
		return r.WarmUp
	}
	var compile []string
	for _, word := range r.Compile {
		compile = append(compile, strings.ReplaceAll(word, "{sources}", "{source}"))
	}
	return append([][]string{compile}, r.WarmUp...)
}

// isName: one component of a path, that means itself.
func isName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\\x00")
}
