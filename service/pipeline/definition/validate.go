package definition

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// OnErrorTask is the name under which a job shows its handler.
const OnErrorTask = "on_error"

// maxName bounds the names of pipelines and tasks, in bytes.
const maxName = 128

// place is a pipeline and where its parts stand in the file.
type place struct {
	entry *ast.MappingValueNode
	p     *Pipeline
}

// at is the token of a key below the pipeline, as far as the path leads; of a
// list, the path may name an item by its index or its text.
func (l place) at(path ...string) *token.Token {
	key, node := l.entry.Key.GetToken(), l.entry.Value
	for _, name := range path {
		switch n := node.(type) {
		case *ast.MappingNode:
			found := slices.IndexFunc(n.Values, func(v *ast.MappingValueNode) bool { return KeyText(v.Key) == name })
			if found < 0 {
				return key
			}
			key, node = n.Values[found].Key.GetToken(), n.Values[found].Value
		case *ast.SequenceNode:
			for i, item := range n.Values {
				if text, _, err := scalar(item); fmt.Sprint(i) == name || err == nil && text == name {
					key, node = item.GetToken(), item
					break
				}
			}
		default:
			if text, _, err := scalar(node); err == nil && text == name {
				return node.GetToken()
			}
			return key
		}
	}
	return key
}

// validate refuses what no job could be made of; the error is at its place.
func validate(l place, name string) error {
	if err := checkName(name); err != nil {
		return ErrorAt(l.at(), "pipeline name %v", err)
	}
	for _, check := range []func(place) error{
		checkQueue, checkSettings, checkSchedule, checkTasks, checkDependencies, checkTemplates, checkSize,
	} {
		if err := check(l); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("%q must have 1 to %d bytes", name, maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%q must not have control characters", name)
	}
	return nil
}

func checkQueue(l place) error {
	p := l.p
	if p.Concurrency < 0 {
		return ErrorAt(l.at("concurrency"), "concurrency must be greater than 0")
	}
	if p.QueueLimit != nil && *p.QueueLimit < 0 {
		return ErrorAt(l.at("queue_limit"), "queue_limit must not be negative")
	}
	switch p.QueueStrategy {
	case "", Append, Replace:
		if p.QueuePartitionLimit != nil {
			return ErrorAt(l.at("queue_partition_limit"), "queue_partition_limit goes with queue_strategy: partitioned_replace only")
		}
	case PartitionedReplace:
		if p.QueueLimit != nil {
			return ErrorAt(l.at("queue_limit"), "queue_limit does not go with queue_strategy: partitioned_replace; use queue_partition_limit")
		}
		if p.QueuePartitionLimit == nil || *p.QueuePartitionLimit < 1 {
			return ErrorAt(l.at("queue_partition_limit"), "queue_partition_limit must be 1 or more with queue_strategy: partitioned_replace")
		}
	default:
		return ErrorAt(l.at("queue_strategy"), "unknown queue_strategy %q: use append, replace or partitioned_replace", p.QueueStrategy)
	}
	if p.StartDelay > 0 && p.QueueLimit != nil && *p.QueueLimit == 0 {
		return ErrorAt(l.at("start_delay"), "start_delay needs a queue_limit above 0: a delayed job waits in the queue")
	}
	return nil
}

func checkSettings(l place) error {
	p := l.p
	switch p.Variables {
	case "", ReplaceVariables, MergeVariables:
	default:
		return ErrorAt(l.at("variables"), "unknown value %q of variables: use replace or merge", p.Variables)
	}
	if p.RetentionCount < 0 {
		return ErrorAt(l.at("retention_count"), "retention_count must not be negative")
	}
	if err := checkEnv(p.Env); err != nil {
		return ErrorAt(l.at("env"), "env: %v", err)
	}
	if p.OnError == nil {
		return nil
	}
	if err := checkEnv(p.OnError.Env); err != nil {
		return ErrorAt(l.at("on_error", "env"), "env: %v", err)
	}
	if p.Tasks[OnErrorTask] != nil {
		return ErrorAt(l.at("tasks", OnErrorTask), "a task called on_error does not go with an on_error handler: rename the task")
	}
	return nil
}

// checkEnv refuses names that no environment can hold.
func checkEnv(env map[string]Text) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch {
		case name == "":
			return fmt.Errorf("a name is empty")
		case strings.ContainsAny(name, "=\x00"):
			return fmt.Errorf("%q must not have = or NUL in its name", name)
		case strings.ContainsRune(string(env[name]), 0):
			return fmt.Errorf("%s must not have NUL in its value", name)
		}
	}
	return nil
}

func checkTasks(l place) error {
	for _, name := range slices.Sorted(maps.Keys(l.p.Tasks)) {
		if err := checkName(name); err != nil {
			return ErrorAt(l.at("tasks", name), "task name %v", err)
		}
		if l.p.Tasks[name] == nil {
			l.p.Tasks[name] = &Task{} // a marker that others depend on
		}
		if err := checkTask(l, name, l.p.Tasks[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkTask(l place, name string, t *Task) error {
	if err := checkEnv(t.Env); err != nil {
		return ErrorAt(l.at("tasks", name, "env"), "env: %v", err)
	}
	switch t.Isolation {
	case "", "none", "standard", "strict":
	default:
		return ErrorAt(l.at("tasks", name, "isolation"), "unknown isolation %q: use none, standard or strict", t.Isolation)
	}
	if limits, err := Limits(t.Limits); err != nil {
		return ErrorAt(l.at("tasks", name, "limits"), "%v", err)
	} else if _, err := limits.Named(); err != nil {
		return ErrorAt(l.at("tasks", name, "limits"), "%s", strings.TrimPrefix(err.Error(), "spec.task."))
	}
	if t.Language != nil && t.Language.Name == "" {
		return ErrorAt(l.at("tasks", name, "language"), "language needs a name")
	}
	if t.Language != nil && t.Dir != "" {
		return ErrorAt(l.at("tasks", name, "dir"), "dir does not go with language: a program has a directory of its own")
	}
	if t.When != "" {
		if _, err := CompileWhen(string(t.When)); err != nil {
			return ErrorAt(l.at("tasks", name, "when"), "%v", err)
		}
	}
	if err := checkRetries(l, name, t.Retries); err != nil {
		return err
	}
	return checkTarget(l, name, t.On)
}

// Limits reads limits by the names and in the forms of a task request.
func Limits(limits map[string]Text) (*pb.Limits, error) {
	if len(limits) == 0 {
		return nil, nil
	}
	body, err := json.Marshal(limits)
	if err != nil {
		return nil, err
	}
	out := &pb.Limits{}
	if err := pb.UnmarshalJSON(body, out); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	return out, nil
}

func checkRetries(l place, name string, r *Retries) error {
	if r == nil {
		return nil
	}
	if r.Max < 0 || r.Max > 100 {
		return ErrorAt(l.at("tasks", name, "retries"), "retries must be 0 to 100")
	}
	for _, cause := range r.On {
		if !slices.Contains([]string{"lost", "exit", "signal", "timeout", "oom"}, cause) {
			return ErrorAt(l.at("tasks", name, "retries", "on", cause), "unknown cause %q: use lost, exit, signal, timeout or oom", cause)
		}
	}
	return nil
}

func checkTarget(l place, name string, on *Target) error {
	switch {
	case on == nil:
		return nil
	case on.Runner != "" && (on.Pool != "" || on.Where != "" || bool(on.All)):
		return ErrorAt(l.at("tasks", name, "on", "runner"), "runner names one runner: pool, where and all don't go with it")
	case !bool(on.All) && (on.Limit != "" || on.Batch != ""):
		return ErrorAt(l.at("tasks", name, "on"), "limit and batch go with all: true")
	}
	for key, value := range map[string]Text{"limit": on.Limit, "batch": on.Batch} {
		if _, err := Share(string(value), 1); value != "" && err != nil {
			return ErrorAt(l.at("tasks", name, "on", key), "%s: %v", key, err)
		}
	}
	if on.Where != "" {
		if _, err := store.CompileWhere(string(on.Where)); err != nil {
			return ErrorAt(l.at("tasks", name, "on", "where"), "%v", err)
		}
	}
	return nil
}

// Share reads "N" or "N%" of a number; any share of some is at least one.
func Share(text string, of int) (int, error) {
	number, isShare := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n <= 0 || isShare && n > 100:
		return 0, fmt.Errorf("%q must be a number such as 10 or a share such as 25%%", text)
	case isShare:
		return max(1, of*n/100), nil
	}
	return n, nil
}

func checkDependencies(l place) error {
	tasks := l.p.Tasks
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		for _, dep := range tasks[name].DependsOn {
			if tasks[dep] == nil {
				return ErrorAt(l.at("tasks", name, "depends_on", dep), "task %q depends on %q, which is not a task of this pipeline", name, dep)
			}
		}
	}
	if cycle := findCycle(tasks); cycle != nil {
		return ErrorAt(l.at("tasks", cycle[0], "depends_on", cycle[1]), "tasks depend on each other: %s", strings.Join(cycle, " → "))
	}
	return nil
}

// findCycle is a way along depends_on that ends where it began, or nil.
func findCycle(tasks map[string]*Task) []string {
	const onWay, done = 1, 2
	state, way := map[string]int{}, []string{}
	var walk func(name string) []string
	walk = func(name string) []string {
		switch state[name] {
		case done:
			return nil
		case onWay:
			return append(slices.Clone(way[slices.Index(way, name):]), name)
		}
		state[name], way = onWay, append(way, name)
		for _, dep := range tasks[name].DependsOn {
			if cycle := walk(dep); cycle != nil {
				return cycle
			}
		}
		state[name], way = done, way[:len(way)-1]
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		if cycle := walk(name); cycle != nil {
			return cycle
		}
	}
	return nil
}

func checkTemplates(l place) error {
	for _, name := range slices.Sorted(maps.Keys(l.p.Tasks)) {
		if err := checkScript(l, l.p.Tasks[name].Script, "tasks", name, "script"); err != nil {
			return err
		}
	}
	if l.p.OnError == nil {
		return nil
	}
	return checkScript(l, l.p.OnError.Script, "on_error", "script")
}

func checkScript(l place, script Script, path ...string) error {
	for i, item := range script {
		if _, err := parseTemplate(item.Text); err != nil {
			at := *l.at(append(path, fmt.Sprint(i))...)
			line, text := templateError(err)
			if line > 0 && strings.Contains(item.Text, "\n") {
				position := *at.Position
				position.Line, position.Column = item.Line+line-1, 1
				at.Position = &position
			}
			return ErrorAt(&at, "template: %s", text)
		}
	}
	return nil
}

func checkSize(l place) error {
	body, err := json.Marshal(l.p)
	if err != nil {
		return ErrorAt(l.at(), "%v", err)
	}
	if len(body) > MaxDefinition {
		return ErrorAt(l.at(), "the definition has %d bytes, %d at most", len(body), MaxDefinition)
	}
	return nil
}
