package definition

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// File is a pipelines.yml. Top-level keys that begin with "x-" are left to the
// file's author, for anchors.
type File struct {
	// Pipelines by name.
	Pipelines map[string]*Pipeline `yaml:"pipelines" json:"pipelines"`
}

// Pipeline is a graph of tasks and the rules for its jobs.
type Pipeline struct {
	// Concurrency is how many jobs run at a time. Default, 0: 1.
	Concurrency Int `yaml:"concurrency" json:"concurrency,omitempty"`
	// QueueLimit is how many jobs may wait; absent: any number; 0: none.
	QueueLimit *Int `yaml:"queue_limit" json:"queue_limit,omitempty"`
	// QueueStrategy says what happens to a job when the queue is full.
	QueueStrategy Strategy `yaml:"queue_strategy" json:"queue_strategy,omitempty"`
	// QueuePartitionLimit is how many jobs of one partition may wait.
	QueuePartitionLimit *Int `yaml:"queue_partition_limit" json:"queue_partition_limit,omitempty"`
	// Interrupt: a new job cancels running ones whose tasks are all interruptible.
	Interrupt Bool `yaml:"interrupt" json:"interrupt,omitempty"`
	// Variables says what a job that replaces another does with its variables.
	Variables Variables `yaml:"variables" json:"variables,omitempty"`
	// StartDelay is how long a job waits before it may start.
	StartDelay Duration `yaml:"start_delay" json:"start_delay,omitempty"`
	// ContinueAfterFailure lets running tasks end when another one has failed.
	ContinueAfterFailure Bool `yaml:"continue_running_tasks_after_failure" json:"continue_running_tasks_after_failure,omitempty"`
	// RetentionPeriod is how long an ended job and its logs are kept; 0: for ever.
	RetentionPeriod Duration `yaml:"retention_period" json:"retention_period,omitempty"`
	// RetentionCount is how many ended jobs are kept; 0: all.
	RetentionCount Int `yaml:"retention_count" json:"retention_count,omitempty"`
	// Env is the environment of all tasks, above the runner's.
	Env map[string]Text `yaml:"env" json:"env,omitempty"`
	// Tasks by name.
	Tasks map[string]*Task `yaml:"tasks" json:"tasks,omitempty"`
	// OnError runs once after a failed job.
	OnError *Handler `yaml:"on_error" json:"on_error,omitempty"`
	// Schedule starts jobs by the clock.
	Schedule []Timer `yaml:"schedule" json:"schedule,omitempty"`
}

// Task is one node of the graph: a script that one runner, or every matching one, executes.
type Task struct {
	// Script has the items that are run one after the other in one shell.
	Script Script `yaml:"script" json:"script,omitempty"`
	// DependsOn names the tasks that must have ended well before this one starts.
	DependsOn Names `yaml:"depends_on" json:"depends_on,omitempty"`
	// AllowFailure records an error of this task and lets the job go on.
	AllowFailure Bool `yaml:"allow_failure" json:"allow_failure,omitempty"`
	// Env is the environment of this task, above the pipeline's.
	Env map[string]Text `yaml:"env" json:"env,omitempty"`
	// Dir is the working directory. Default: the run's own.
	Dir Text `yaml:"dir" json:"dir,omitempty"`
	// Timeout ends an attempt of the task.
	Timeout Duration `yaml:"timeout" json:"timeout,omitempty"`
	// Grace is how long a cancelled task has between SIGTERM and SIGKILL. Default: 2 s.
	Grace *Duration `yaml:"grace" json:"grace,omitempty"`
	// Retries says how often and when a failed task is tried again.
	Retries *Retries `yaml:"retries" json:"retries,omitempty"`
	// On says which runners may execute the task.
	On *Target `yaml:"on" json:"on,omitempty"`
	// Limits of the run, as in a task request: memoryMax, cpuTime and so on.
	Limits map[string]Text `yaml:"limits" json:"limits,omitempty"`
	// Isolation of the run: none, standard or strict.
	Isolation Text `yaml:"isolation" json:"isolation,omitempty"`
	// Language makes the script source code of that language instead of shell.
	Language *Language `yaml:"language" json:"language,omitempty"`
	// Interruptible lets a newer job of an interrupting pipeline cancel this task.
	Interruptible Bool `yaml:"interruptible" json:"interruptible,omitempty"`
	// When is an expression over vars and tasks; false skips the task.
	When Text `yaml:"when" json:"when,omitempty"`
}

// Handler is the script that runs after a failed job.
type Handler struct {
	// Script has the items of the handler.
	Script Script `yaml:"script" json:"script,omitempty"`
	// Env is the handler's environment, above the pipeline's.
	Env map[string]Text `yaml:"env" json:"env,omitempty"`
}

// Language of a task's source code.
type Language struct {
	Name    Text `yaml:"name" json:"name"`
	Version Text `yaml:"version" json:"version,omitempty"`
}

// Target says which runners may execute a task. The zero value is any runner.
type Target struct {
	// Pool narrows to a pool.
	Pool Text `yaml:"pool" json:"pool,omitempty"`
	// Where is a selector over the runners' cards.
	Where Text `yaml:"where" json:"where,omitempty"`
	// Runner names one runner.
	Runner Text `yaml:"runner" json:"runner,omitempty"`
	// All runs the task on every runner that matches, as one node of the graph.
	All Bool `yaml:"all" json:"all,omitempty"`
	// Limit is how many of them at most: a number or a percentage.
	Limit Text `yaml:"limit" json:"limit,omitempty"`
	// Batch is how many of them at a time: a number or a percentage.
	Batch Text `yaml:"batch" json:"batch,omitempty"`
}

// Retries says how often, how soon and after what a task is tried again.
type Retries struct {
	// Max is how many attempts there are beyond the first.
	Max Int `yaml:"max" json:"max"`
	// Backoff is the wait before the second attempt; it doubles with each one.
	Backoff Duration `yaml:"backoff" json:"backoff,omitempty"`
	// On lists the causes: lost, exit, signal, timeout, oom. Default: all of them.
	On Names `yaml:"on" json:"on,omitempty"`
}

// Timer is one entry of a pipeline's schedule.
type Timer struct {
	// Cron is a pattern of five or six fields.
	Cron Text `yaml:"cron" json:"cron,omitempty"`
	// Every is an interval of whole seconds.
	Every Duration `yaml:"every" json:"every,omitempty"`
	// TZ is the name of the pattern's time zone. Default: UTC.
	TZ Text `yaml:"tz" json:"tz,omitempty"`
	// Variables of the jobs that it starts.
	Variables Object `yaml:"variables" json:"variables,omitempty"`
	// Overlap says what happens while the last job is not over: skip, allow or replace. Default: skip.
	Overlap Text `yaml:"overlap" json:"overlap,omitempty"`
}

// Strategy of a queue that is full.
type Strategy string

// The strategies.
const (
	// Append refuses the new job.
	Append Strategy = "append"
	// Replace cancels the last waiting job in favour of the new one.
	Replace Strategy = "replace"
	// PartitionedReplace does so within the new job's partition; the new job
	// keeps the place of the one that it replaces.
	PartitionedReplace Strategy = "partitioned_replace"
)

// Variables of a job that replaces another.
type Variables string

// What becomes of the replaced job's variables.
const (
	ReplaceVariables Variables = "replace"
	MergeVariables   Variables = "merge"
)

// DefaultGrace is how long a cancelled task has before it is killed.
const DefaultGrace = 2 * time.Second

// Jobs is how many jobs run at a time.
func (p *Pipeline) Jobs() int { return max(int(p.Concurrency), 1) }

// Merges says whether a replacing job keeps the variables it does not set itself.
func (p *Pipeline) Merges() bool { return p.Variables == MergeVariables }

// Interruptible says whether every task of the pipeline may be cancelled by a newer job.
func (p *Pipeline) Interruptible() bool {
	for _, t := range p.Tasks {
		if !t.Interruptible {
			return false
		}
	}
	return true
}

// GraceOr is how long the task has between SIGTERM and SIGKILL.
func (t *Task) GraceOr() time.Duration {
	if t.Grace == nil {
		return DefaultGrace
	}
	return time.Duration(*t.Grace)
}

// Same says whether two definitions are equal in every key.
func (p *Pipeline) Same(q *Pipeline) bool {
	a, errA := json.Marshal(p)
	b, errB := json.Marshal(q)
	return errA == nil && errB == nil && string(a) == string(b)
}

// Order lists the names of the tasks so that each comes after those that it
// depends on, and by name where that leaves a choice. The pipeline must be valid.
func (p *Pipeline) Order() []string {
	depth := map[string]int{}
	var depthOf func(name string) int
	depthOf = func(name string) int {
		if d, done := depth[name]; done {
			return d
		}
		depth[name] = 0 // a cycle, which Validate refuses, must not recurse for ever
		d := 0
		for _, dep := range p.Tasks[name].DependsOn {
			if p.Tasks[dep] != nil {
				d = max(d, depthOf(dep)+1)
			}
		}
		depth[name] = d
		return d
	}
	return slices.SortedFunc(maps.Keys(p.Tasks), func(a, b string) int {
		return cmp.Or(cmp.Compare(depthOf(a), depthOf(b)), cmp.Compare(a, b))
	})
}

// Covers says whether a cause is one to try again after.
func (r *Retries) Covers(cause string) bool {
	if cause == "" {
		return false
	}
	for _, on := range r.On {
		if on == cause {
			return true
		}
	}
	return len(r.On) == 0
}

// maxBackoff bounds what doubling makes of a backoff.
const maxBackoff = time.Hour

// Wait is the time before an attempt, from the second on.
func (r *Retries) Wait(attempt int) time.Duration {
	d := time.Duration(r.Backoff)
	for range attempt - 2 {
		if d *= 2; d > maxBackoff {
			return maxBackoff
		}
	}
	return d
}
