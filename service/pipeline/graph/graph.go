package graph

import (
	"fmt"
	"slices"

	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// Status of a task of a job.
type Status string

// The statuses; all but Waiting and Running are final. (prunner)
const (
	TaskWaiting  Status = "waiting"
	TaskRunning  Status = "running"
	TaskSkipped  Status = "skipped"
	TaskDone     Status = "done"
	TaskError    Status = "error"
	TaskCanceled Status = "canceled"
)

// Final says whether a status never changes again.
func (s Status) Final() bool { return s != TaskWaiting && s != TaskRunning }

// Node is a task of a job in the graph.
type Node struct {
	Name         string
	DependsOn    []string
	Status       Status
	ExitCode     int
	AllowFailure bool
	// Kept: it ended in another job, of which this one runs a part again.
	Kept bool
	// Empty: nothing is to be run; the task is done as soon as it may start.
	Empty bool
	// When, if set, decides whether the task is run.
	When *definition.When
}

// ok says whether dependents of the node may run.
func (n *Node) ok() bool {
	return n.Status == TaskDone || n.Status == TaskError && n.AllowFailure
}

// Failed says whether the node makes the job fail.
func (n *Node) Failed() bool { return n.Status == TaskError && !n.AllowFailure && !n.Kept }

// Graph is the state of one job's tasks. It is pure: the engine tells it what
// has happened by setting a node's status, and Next says what follows.
type Graph struct {
	Nodes []*Node
	// Variables of the job, for conditions.
	Variables map[string]any
	// ContinueAfterFailure: a failed task stops its dependents only.
	ContinueAfterFailure bool
	// Canceled: somebody has cancelled the job.
	Canceled bool
}

// Step is what has to be done next.
type Step struct {
	// Start has the nodes to start; they are set to running, or done if empty.
	Start []*Node
	// Ended has the nodes that ended without having run.
	Ended []Ended
	// Abort has the running nodes to stop.
	Abort []*Node
	// Over: every node has ended.
	Over bool
}

// Ended is a node that ended without a run, and why.
type Ended struct {
	Node  *Node
	Error string
}

// Next applies what follows from the statuses until nothing more does. A node
// that it returns in Abort stays running until the engine has seen it end.
func (g *Graph) Next() Step {
	var step Step
	for g.advance(&step) {
	}
	stopped := g.Canceled || g.failedFast()
	step.Over = true
	for _, n := range g.Nodes {
		if n.Status == TaskRunning && stopped && !slices.Contains(step.Start, n) {
			step.Abort = append(step.Abort, n)
		}
		step.Over = step.Over && n.Status.Final()
	}
	return step
}

// failedFast says whether a failure stops the whole job.
func (g *Graph) failedFast() bool {
	return !g.ContinueAfterFailure && g.Failed() != nil
}

// Failed is the first node that makes the job fail, or nil.
func (g *Graph) Failed() *Node {
	for _, n := range g.Nodes {
		if n.Failed() {
			return n
		}
	}
	return nil
}

// advance decides about each waiting node once and says whether it changed one.
func (g *Graph) advance(step *Step) bool {
	changed := false
	for _, n := range g.Nodes {
		if n.Status != TaskWaiting {
			continue
		}
		status, reason := g.decide(n)
		if status == TaskWaiting {
			continue
		}
		n.Status, changed = status, true
		switch {
		case status != TaskRunning:
			step.Ended = append(step.Ended, Ended{n, reason})
		case n.Empty:
			n.Status = TaskDone
			step.Ended = append(step.Ended, Ended{n, ""})
		default:
			step.Start = append(step.Start, n)
		}
	}
	return changed
}

// decide says what becomes of a waiting node: it waits on, runs, is skipped, is
// canceled, or fails by its condition.
func (g *Graph) decide(n *Node) (Status, string) {
	if g.Canceled {
		return TaskCanceled, ""
	}
	allEnded, allOK := true, true
	for _, name := range n.DependsOn {
		dep := g.Node(name)
		if dep == nil {
			return TaskError, fmt.Sprintf("task %q is not in this job", name)
		}
		allEnded = allEnded && dep.Status.Final()
		allOK = allOK && (dep.ok() || !dep.Status.Final())
	}
	if n.When == nil {
		switch {
		case !allOK:
			return TaskSkipped, ""
		case g.failedFast():
			return g.afterFailure(n)
		case !allEnded:
			return TaskWaiting, ""
		}
		return TaskRunning, ""
	}
	if g.failedFast() && allOK {
		return g.afterFailure(n)
	}
	if !allEnded {
		return TaskWaiting, ""
	}
	holds, err := n.When.Holds(g.Variables, g.outcomes())
	switch {
	case err != nil:
		return TaskError, err.Error()
	case holds:
		return TaskRunning, ""
	}
	return TaskSkipped, ""
}

// afterFailure is what becomes of a node that does not depend on the failed one,
// or does so by others that have not ended yet: those that will be skipped wait
// for that.
func (g *Graph) afterFailure(n *Node) (Status, string) {
	for _, name := range n.DependsOn {
		if dep := g.Node(name); dep.Status == TaskWaiting {
			return TaskWaiting, ""
		}
	}
	return TaskCanceled, ""
}

func (g *Graph) outcomes() map[string]definition.Outcome {
	all := make(map[string]definition.Outcome, len(g.Nodes))
	for _, n := range g.Nodes {
		all[n.Name] = definition.Outcome{Status: string(n.Status), ExitCode: n.ExitCode}
	}
	return all
}

// Node finds a node by name, or nil.
func (g *Graph) Node(name string) *Node {
	i := slices.IndexFunc(g.Nodes, func(n *Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return g.Nodes[i]
}
