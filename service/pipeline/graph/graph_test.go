package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// graph reads "a b:a c:a,b" as tasks and what they depend on.
func graph(text string) *Graph {
	g := &Graph{}
	for _, word := range strings.Fields(text) {
		name, deps, _ := strings.Cut(word, ":")
		n := &Node{Name: name, Status: TaskWaiting}
		if deps != "" {
			n.DependsOn = strings.Split(deps, ",")
		}
		g.Nodes = append(g.Nodes, n)
	}
	return g
}

func (g *Graph) show() string {
	var all []string
	for _, n := range g.Nodes {
		all = append(all, n.Name+"="+string(n.Status))
	}
	return strings.Join(all, " ")
}

func names(nodes []*Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return strings.Join(all, " ")
}

func TestGraphStartsTogether(t *testing.T) {
	g := graph("a b c:a,b d:c")
	if got := names(g.Next().Start); got != "a b" {
		t.Fatalf("first: %s", got)
	}
	g.Node("a").Status = TaskDone
	if got := names(g.Next().Start); got != "" {
		t.Fatalf("c may not start yet: %s", got)
	}
	g.Node("b").Status = TaskDone
	if got := names(g.Next().Start); got != "c" {
		t.Fatalf("second: %s", got)
	}
	g.Node("c").Status = TaskDone
	g.Next()
	g.Node("d").Status = TaskDone
	if !g.Next().Over {
		t.Fatal("not over")
	}
}

func TestGraphFailure(t *testing.T) {
	for _, c := range []struct {
		name, graph string
		set         func(g *Graph)
		want        string
		abort       string
	}{
		{"fail-fast", "a b c:a d:b e", func(g *Graph) {}, "a=error b=running c=skipped d=canceled e=running", "b e"},
		{"continue", "a b c:a d:b", func(g *Graph) { g.ContinueAfterFailure = true }, "a=error b=running c=skipped d=waiting", ""},
		{"allowed", "a b c:a", func(g *Graph) { g.Node("a").AllowFailure = true }, "a=error b=running c=running", ""},
		{"all the way down", "a c:a d:c e:d", func(g *Graph) {}, "a=error c=skipped d=skipped e=skipped", ""},
		{"cancelled", "a b c:a", func(g *Graph) { g.Canceled = true }, "a=error b=running c=canceled", "b"},
		{"when on failure", "a c:a", func(g *Graph) { g.Node("c").When = mustWhen(`tasks.a.status == "error"`) }, "a=error c=running", ""},
		{"when false", "a c:a d:c", func(g *Graph) { g.Node("c").When = mustWhen(`tasks.a.exitCode == 0`) }, "a=error c=skipped d=skipped", ""},
		{"when is wrong", "a c:a", func(g *Graph) { g.Node("c").When = mustWhen(`vars.x.y > 1`) }, "a=error c=error", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graph(c.graph)
			g.Next()
			g.Node("a").Status, g.Node("a").ExitCode = TaskError, 1
			c.set(g)
			if step := g.Next(); names(step.Abort) != c.abort {
				t.Errorf("abort %q, want %q", names(step.Abort), c.abort)
			}
			if g.show() != c.want {
				t.Errorf("got  %s\nwant %s", g.show(), c.want)
			}
		})
	}
}

func mustWhen(text string) *definition.When {
	w, err := definition.CompileWhen(text)
	if err != nil {
		panic(err)
	}
	return w
}

func TestGraphMarker(t *testing.T) {
	g := graph("a b:a c:b")
	g.Node("a").Empty, g.Node("b").Empty, g.Node("c").Empty = true, true, true
	if step := g.Next(); !step.Over || len(step.Start) != 0 || len(step.Ended) != 3 {
		t.Errorf("markers alone: %+v, %s", step, g.show())
	}
	if !(&Graph{}).Next().Over {
		t.Error("a pipeline without tasks is done at once")
	}
}

// Whatever the graph and however its tasks end: every task ends in a final
// status; nothing starts before what it depends on, twice, or after a cancel;
// and what failed makes the job fail.
func TestGraphProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &Graph{ContinueAfterFailure: rapid.Bool().Draw(t, "continue")}
		for i := range rapid.IntRange(0, 12).Draw(t, "tasks") {
			n := &Node{Name: fmt.Sprint("t", i), Status: TaskWaiting, AllowFailure: rapid.Bool().Draw(t, "allow"), Empty: rapid.IntRange(0, 5).Draw(t, "empty") == 0}
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
					n.DependsOn = append(n.DependsOn, fmt.Sprint("t", j))
				}
			}
			g.Nodes = append(g.Nodes, n)
		}
		started := map[string]bool{}
		var running []*Node
		for range 200 {
			step := g.Next()
			for _, n := range step.Start {
				if started[n.Name] || g.Canceled {
					t.Fatalf("%s started twice or after a cancel", n.Name)
				}
				started[n.Name] = true
				for _, dep := range n.DependsOn {
					if !g.Node(dep).ok() {
						t.Fatalf("%s started, though %s is %s", n.Name, dep, g.Node(dep).Status)
					}
				}
			}
			running = append(running, step.Start...)
			if step.Over {
				break
			}
			if len(running) == 0 {
				t.Fatalf("nothing runs and it is not over: %s", g.show())
			}
			i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
			n := running[i]
			running = slices.Delete(running, i, i+1)
			switch {
			case slices.Contains(step.Abort, n):
				n.Status = TaskCanceled
			default:
				n.Status = rapid.SampledFrom([]Status{TaskDone, TaskDone, TaskError}).Draw(t, "end")
			}
			g.Canceled = g.Canceled || rapid.IntRange(0, 20).Draw(t, "cancel") == 0
		}
		for _, n := range g.Nodes {
			if !n.Status.Final() {
				t.Fatalf("%s never ended: %s", n.Name, g.show())
			}
		}
	})
}
