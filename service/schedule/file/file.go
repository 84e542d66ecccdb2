package file

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/schedule"
)

// maxFile bounds a schedules.yml, in bytes.
const maxFile = 1 << 20

// entry is one schedule of a file.
type entry struct {
	Cron          definition.Text  `yaml:"cron"`
	Zone          definition.Text  `yaml:"tz"`
	Every         definition.Text  `yaml:"every"`
	At            definition.Text  `yaml:"at"`
	Pool          definition.Text  `yaml:"pool"`
	All           definition.Bool  `yaml:"all"`
	On            definition.Names `yaml:"on"`
	Where         definition.Text  `yaml:"where"`
	From          definition.Text  `yaml:"from"`
	Until         definition.Text  `yaml:"until"`
	Jitter        definition.Text  `yaml:"jitter"`
	StartDeadline definition.Text  `yaml:"startDeadline"`
	Overlap       definition.Text  `yaml:"overlap"`
	Task          *task            `yaml:"task"`
}

// task is what an entry runs: one of command, argv, script, and code with its
// language. What it has else is as on the wire.
type task struct {
	Name        definition.Text            `yaml:"name"`
	Command     definition.Text            `yaml:"command"`
	Argv        []definition.Text          `yaml:"argv"`
	Script      definition.Text            `yaml:"script"`
	Code        definition.Text            `yaml:"code"`
	Language    definition.Text            `yaml:"language"`
	Version     definition.Text            `yaml:"version"`
	Args        []definition.Text          `yaml:"args"`
	Stdin       definition.Text            `yaml:"stdin"`
	Env         map[string]definition.Text `yaml:"env"`
	Dir         definition.Text            `yaml:"dir"`
	User        definition.Text            `yaml:"user"`
	Timeout     definition.Text            `yaml:"timeout"`
	Grace       definition.Text            `yaml:"grace"`
	Expires     definition.Text            `yaml:"expires"`
	Delay       definition.Text            `yaml:"delay"`
	Isolation   definition.Text            `yaml:"isolation"`
	Network     definition.Bool            `yaml:"network"`
	Tags        map[string]definition.Text `yaml:"tags"`
	Limits      map[string]any             `yaml:"limits"`
	Retries     any                        `yaml:"retries"`
	Concurrency map[string]any             `yaml:"concurrency"`
}

// Parse reads the text of a schedules.yml, by name, and validates it. The error is a
// *definition.Error that has path in it.
func Parse(path string, text []byte, now time.Time) ([]schedule.Schedule, error) {
	all, err := parse(text, now)
	if err != nil {
		return nil, definition.Located(path, err)
	}
	slices.SortFunc(all, func(a, b schedule.Schedule) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func parse(text []byte, now time.Time) (all []schedule.Schedule, err error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("the file has %d bytes, %d at most", len(text), maxFile)
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	root, err := definition.OneDocument(doc)
	if root == nil || err != nil {
		return nil, err
	}
	top, ok := root.(*ast.MappingNode)
	if !ok {
		return nil, definition.ErrorAt(root.GetToken(), "a mapping with the key schedules is expected")
	}
	for _, key := range top.Values {
		if name := definition.KeyText(key.Key); name != "schedules" {
			return nil, definition.ErrorAt(key.Key.GetToken(), "unknown key %q", name)
		}
		if key.Value.Type() == ast.NullType {
			continue
		}
		list, ok := key.Value.(*ast.MappingNode)
		if !ok {
			return nil, definition.ErrorAt(key.Value.GetToken(), "schedules: a mapping of schedules by name is expected, not a %s", definition.KindOf(key.Value))
		}
		for _, one := range list.Values {
			s, err := read(one)
			if err == nil {
				err = s.Check(now)
			}
			if _, placed := err.(yaml.Error); err != nil && !placed { //nolint:errorlint // those of the library are as they are
				err = definition.ErrorAt(one.Key.GetToken(), "%s: %s", definition.KeyText(one.Key), plain(err))
			}
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// plain is an error in the words of a file: the fields of the wire's envelope are
// not in it.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "spec.task", "task") }

// read makes a schedule of an entry.
func read(node *ast.MappingValueNode) (schedule.Schedule, error) {
	var e entry
	if node.Value.Type() != ast.NullType {
		if err := yaml.NodeToValue(node.Value, &e, yaml.Strict()); err != nil {
			return schedule.Schedule{}, err
		}
	}
	m := &pb.Schedule{
		Name: definition.KeyText(node.Key), Cron: string(e.Cron), Tz: string(e.Zone), Every: string(e.Every), Pool: string(e.Pool),
		All: bool(e.All), On: e.On, Where: string(e.Where), Jitter: string(e.Jitter), StartDeadline: string(e.StartDeadline), Overlap: string(e.Overlap),
	}
	s := schedule.FromMessage(m)
	for _, t := range []struct {
		name string
		text definition.Text
		to   **time.Time
	}{{"at", e.At, &s.At}, {"from", e.From, &s.From}, {"until", e.Until, &s.Until}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, string(t.text))
		if err != nil {
			return s, fmt.Errorf("%s: %q is no time such as 2006-01-02T15:04:05Z", t.name, t.text)
		}
		*t.to = &at
	}
	if e.Task == nil {
		return s, fmt.Errorf("task is missing: what is to run")
	}
	what, err := e.Task.message()
	s.Task.Spec.Task = what
	s.Task.Metadata.Name = what.GetName()
	return s, err
}

// message is the task as the wire has it.
func (t *task) message() (*pb.Task, error) {
	what := &pb.Task{}
	// What has a form of its own is read as a request's JSON is.
	rest := map[string]any{}
	if t.Limits != nil {
		rest["limits"] = t.Limits
	}
	if t.Retries != nil {
		rest["retries"] = t.Retries
	}
	if t.Concurrency != nil {
		rest["concurrency"] = t.Concurrency
	}
	body, err := json.Marshal(rest)
	if err == nil {
		err = pb.UnmarshalJSON(body, what)
	}
	if err != nil {
		return nil, err
	}
	what.Name, what.Argv, what.Dir, what.User = string(t.Name), texts(t.Argv), string(t.Dir), string(t.User)
	what.Timeout, what.Grace, what.Expires, what.Delay = string(t.Timeout), string(t.Grace), string(t.Expires), string(t.Delay)
	what.Isolation, what.Network, what.Stdin = string(t.Isolation), bool(t.Network), []byte(t.Stdin)
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		what.Params = append(what.Params, &pb.Param{Name: name, Value: string(t.Env[name])})
	}
	if len(t.Tags) > 0 {
		what.Tags = map[string]string{}
		for name, value := range t.Tags {
			what.Tags[name] = string(value)
		}
	}
	return what, t.setProgram(what)
}

// setProgram puts in what is to be run.
func (t *task) setProgram(into *pb.Task) error {
	kinds := 0
	for _, is := range []bool{t.Command != "", len(t.Argv) > 0, t.Script != "", t.Language != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("task: give one of command, argv, script, and code with its language")
	case t.Language == "" && (t.Code != "" || t.Version != "" || len(t.Args) > 0):
		return fmt.Errorf("task: code, version and args need a language")
	case t.Command != "":
		into.Commands = []string{string(t.Command)}
	case t.Script != "":
		into.File = &pb.File{Content: []byte(t.Script)}
	case t.Language != "":
		into.Language = &pb.Language{Name: string(t.Language), Version: string(t.Version)}
		into.Argv, into.File = texts(t.Args), &pb.File{Content: []byte(t.Code)}
	}
	return nil
}

func texts(all []definition.Text) (out []string) {
	for _, t := range all {
		out = append(out, string(t))
	}
	return out
}
