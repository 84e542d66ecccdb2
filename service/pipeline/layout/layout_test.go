package layout_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/service/pipeline/layout"
)

func task(name string, dependsOn ...string) layout.Task {
	return layout.Task{Name: name, DependsOn: dependsOn}
}

func node(t *testing.T, g layout.Graph, name string) layout.Box {
	t.Helper()
	i := slices.IndexFunc(g.Nodes, func(n layout.Box) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("%s is not in the picture: %+v", name, g.Nodes)
	}
	return g.Nodes[i]
}

// release is a graph as people write them.
var release = []layout.Task{
	task("checkout"), task("lint", "checkout"), task("unit", "checkout"), task("build", "checkout"), task("image", "build"),
	task("docs", "lint"), task("e2e", "unit", "build"), task("publish", "docs"), task("canary", "image", "e2e", "docs"), task("prod", "canary"),
}

func TestColumns(t *testing.T) {
	g := layout.Of(release)
	columns := map[string]int{"checkout": 0, "lint": 1, "unit": 1, "build": 1, "image": 2, "docs": 2, "e2e": 2, "publish": 3, "canary": 3, "prod": 4}
	first, second := node(t, g, "checkout").X, node(t, g, "lint").X
	for name, column := range columns {
		if x := node(t, g, name).X; x != first+column*(second-first) {
			t.Errorf("%s is at x = %d, not in column %d", name, x, column)
		}
	}
	if len(g.Edges) != 12 {
		t.Errorf("%d lines, want 12: %+v", len(g.Edges), g.Edges)
	}
}

// A chain is a straight line, and what two tasks lie between is in their middle.
func TestStraight(t *testing.T) {
	g := layout.Of([]layout.Task{task("a"), task("b", "a"), task("c", "b"), task("d", "c")})
	for _, n := range g.Nodes {
		if n.Y != g.Nodes[0].Y {
			t.Errorf("a chain bends: %+v", g.Nodes)
		}
	}
	g = layout.Of([]layout.Task{{Name: "from"}, task("up", "from"), task("down", "from"), task("to", "up", "down")})
	middle := (node(t, g, "up").Y + node(t, g, "down").Y) / 2
	if a, b := node(t, g, "from").Y, node(t, g, "to").Y; abs(a-b) > 1 || middle == node(t, g, "up").Y {
		t.Errorf("from is at %d and to at %d, the two between them around %d", a, b, middle)
	}
}

func TestCrossingsAreTakenOut(t *testing.T) {
	// In order of names every line would cross every other.
	g := layout.Of([]layout.Task{task("a"), task("b"), task("c"), task("d"), task("w", "d"), task("x", "c"), task("y", "b"), task("z", "a")})
	for _, pair := range [][2]string{{"a", "z"}, {"b", "y"}, {"c", "x"}, {"d", "w"}} {
		if from, to := node(t, g, pair[0]), node(t, g, pair[1]); from.Y != to.Y {
			t.Errorf("%s is at %d, and %s that follows it at %d", pair[0], from.Y, pair[1], to.Y)
		}
	}
}

func TestLongest(t *testing.T) {
	chain := func(g layout.Graph) (names []string) {
		for _, n := range g.Nodes {
			if n.Longest {
				names = append(names, n.Name)
			}
		}
		for _, e := range g.Edges {
			if e.Longest && (!node(t, g, e.From).Longest || !node(t, g, e.To).Longest) {
				t.Errorf("%s to %s is on the chain, one of them is not", e.From, e.To)
			}
		}
		return names
	}
	tasks := slices.Clone(release)
	if got := chain(layout.Of(tasks)); len(got) != 5 || got[0] != "checkout" || got[4] != "prod" {
		t.Errorf("without times the chain of most tasks: %v", got)
	}
	for i := range tasks {
		tasks[i].Seconds = map[string]float64{"build": 48, "image": 300, "unit": 62, "e2e": 110, "publish": 1}[tasks[i].Name]
	}
	if got, want := chain(layout.Of(tasks)), []string{"checkout", "build", "image", "canary", "prod"}; !slices.Equal(got, want) {
		t.Errorf("by times: %v, want %v", got, want)
	}
	if got := chain(layout.Of([]layout.Task{{Name: "alone", Seconds: 9}, task("a"), task("b", "a")})); !slices.Equal(got, []string{"alone"}) {
		t.Errorf("one long task is longer than two short ones: %v", got)
	}
}

// What no definition has is drawn all the same.
func TestOddTasks(t *testing.T) {
	if g := layout.Of(nil); g.Nodes == nil || g.Edges == nil || g.Width != 0 {
		t.Errorf("nothing: %+v", g)
	}
	g := layout.Of([]layout.Task{task("a", "a", "nobody"), task("b", "c"), task("c", "b"), task("d", "a", "a")})
	if len(g.Nodes) != 4 || len(g.Edges) != 1 || g.Edges[0].From != "a" || g.Edges[0].To != "d" {
		t.Errorf("itself, nobody, a circle, twice: %+v", g)
	}
}

var numbers = regexp.MustCompile(`-?\d+`)

// Whatever the graph: boxes lie within the picture and not on one another, lines
// lead to the right and go through no box, and the same tasks give the same picture.
func TestPicture(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "tasks")
		tasks := make([]layout.Task, n)
		for i := range tasks {
			tasks[i] = layout.Task{Name: fmt.Sprint("t", i), Seconds: rapid.Float64Range(0, 100).Draw(t, "seconds")}
			for j := range i {
				if rapid.IntRange(0, 5).Draw(t, "dependency") == 0 {
					tasks[i].DependsOn = append(tasks[i].DependsOn, fmt.Sprint("t", j))
				}
			}
		}
		g := layout.Of(tasks)
		if !reflect.DeepEqual(g, layout.Of(tasks)) {
			t.Fatal("the same tasks gave another picture")
		}
		for i, a := range g.Nodes {
			if a.X < 0 || a.Y < 0 || a.X+layout.BoxWidth > g.Width || a.Y+layout.BoxHeight > g.Height {
				t.Fatalf("%+v is not within %d × %d", a, g.Width, g.Height)
			}
			for _, b := range g.Nodes[:i] {
				if abs(a.X-b.X) < layout.BoxWidth && abs(a.Y-b.Y) < layout.BoxHeight {
					t.Fatalf("%+v lies on %+v", a, b)
				}
			}
		}
		for _, e := range g.Edges {
			through(t, g, e)
		}
	})
}

// through fails if a line goes back, or through a box on its way.
func through(t *rapid.T, g layout.Graph, e layout.Arrow) {
	var at []int
	for _, m := range numbers.FindAllString(e.Path, -1) {
		v, _ := strconv.Atoi(m)
		at = append(at, v)
	}
	x, y := at[0], at[1]
	for rest := at[2:]; len(rest) > 0; {
		if rest[0] < x {
			t.Fatalf("%s to %s goes back: %s", e.From, e.To, e.Path)
		}
		if len(rest)%7 == 0 { // H: the line crosses a column here
			for _, n := range g.Nodes {
				if n.X < rest[0] && n.X+layout.BoxWidth > x && y > n.Y && y < n.Y+layout.BoxHeight {
					t.Fatalf("%s to %s goes through %s: %s", e.From, e.To, n.Name, e.Path)
				}
			}
			x, rest = rest[0], rest[1:]
			continue
		}
		x, y, rest = rest[4], rest[5], rest[6:]
	}
}

// The largest definitions that are taken must not keep a gateway busy.
func TestLarge(t *testing.T) {
	var tasks []layout.Task
	for i := range 3000 {
		one := task(fmt.Sprint("t", i))
		if i > 0 {
			one.DependsOn = []string{fmt.Sprint("t", i-1), "t0", fmt.Sprint("t", i/2)}
		}
		tasks = append(tasks, one)
	}
	if g := layout.Of(tasks); len(g.Nodes) != 3000 || len(g.Edges) < 8000 {
		t.Errorf("%d boxes, %d lines", len(g.Nodes), len(g.Edges))
	}
}

func abs(n int) int { return max(n, -n) }
