package layout

import (
	"slices"
)

// Sizes in pixels: of a task's box, from column to column, and from row to row.
const (
	BoxWidth  = 172
	BoxHeight = 48
	column    = BoxWidth + 44
	rowHeight = BoxHeight + 16
	lane      = 22 // of a line that passes through a column
	margin    = 6
)

// maxBends bounds the places at which long lines are led around boxes. Beyond it
// the others go straight.
const maxBends = 4000

// Task is what is known of a task.
type Task struct {
	Name      string
	DependsOn []string
	// Seconds is how long it usually takes; 0: not known.
	Seconds float64
}

// Graph is a picture.
type Graph struct {
	Width  int     `json:"width"`
	Height int     `json:"height"`
	Nodes  []Box   `json:"nodes"`
	Edges  []Arrow `json:"edges"`
}

// Box is where a task is: its upper left corner.
type Box struct {
	Name string `json:"name"`
	X    int    `json:"x"`
	Y    int    `json:"y"`
	// Longest: it is on the chain that takes longest.
	Longest bool `json:"longest"`
}

// Arrow is the line to a task from one that it depends on.
type Arrow struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Path is the line in the language of SVG's paths.
	Path    string `json:"path"`
	Longest bool   `json:"longest"`
}

// cell is a task's box, or a place that a long line passes.
type cell struct {
	task       int // -1: a line's
	layer, at  int // its column, and its place in the column
	y          float64
	up, down   []*cell // in the column before and the column behind
	height     float64
	importance float64
}

type link struct {
	from, to int
	via      []*cell // from box to box
	longest  bool
}

// plan is the picture in the making.
type plan struct {
	tasks  []Task
	boxes  []*cell
	links  []link
	layers [][]*cell
	chain  []bool // by task
}

// Of places tasks. A dependency on a task that is not among them, or on itself, is
// left out.
func Of(tasks []Task) Graph {
	p := &plan{tasks: tasks}
	p.connect()
	order := p.layer()
	p.longest(order)
	p.bend()
	p.sort()
	p.settle()
	return p.draw()
}

// connect finds the links by name.
func (p *plan) connect() {
	index := make(map[string]int, len(p.tasks))
	for i, t := range p.tasks {
		index[t.Name] = i
		p.boxes = append(p.boxes, &cell{task: i, height: rowHeight, importance: 1})
	}
	for i, t := range p.tasks {
		seen := map[int]bool{i: true}
		for _, name := range t.DependsOn {
			if from, ok := index[name]; ok && !seen[from] {
				seen[from] = true
				p.links = append(p.links, link{from: from, to: i})
			}
		}
	}
}

// layer puts each task in the column behind the last of those that it depends on,
// and lists the tasks in such an order. What depends on itself by others, which a
// definition refuses, stays in the first column.
func (p *plan) layer() (order []int) {
	next, waits := make([][]int, len(p.tasks)), make([]int, len(p.tasks))
	for _, l := range p.links {
		next[l.from] = append(next[l.from], l.to)
		waits[l.to]++
	}
	for i := range p.tasks {
		if waits[i] == 0 {
			order = append(order, i)
		}
	}
	for at := 0; at < len(order); at++ {
		for _, to := range next[order[at]] {
			p.boxes[to].layer = max(p.boxes[to].layer, p.boxes[order[at]].layer+1)
			if waits[to]--; waits[to] == 0 {
				order = append(order, to)
			}
		}
	}
	for i := range p.tasks {
		if waits[i] > 0 {
			p.boxes[i].layer = 0
		}
	}
	p.links = slices.DeleteFunc(p.links, func(l link) bool { return p.boxes[l.from].layer >= p.boxes[l.to].layer })
	return order
}

// longest marks the chain of tasks that takes longest. Times that are not known
// count as little, so that without any the chain of most tasks is the longest.
func (p *plan) longest(order []int) {
	const little = 1e-3
	p.chain = make([]bool, len(p.tasks))
	into := make([][]int, len(p.tasks))
	for i, l := range p.links {
		into[l.to] = append(into[l.to], i)
	}
	total, before := make([]float64, len(p.tasks)), make([]int, len(p.tasks))
	last := -1
	for _, i := range order {
		before[i] = -1
		for _, k := range into[i] {
			if from := p.links[k].from; before[i] < 0 || total[from] > total[p.links[before[i]].from] {
				before[i] = k
			}
		}
		total[i] = p.tasks[i].Seconds + little
		if before[i] >= 0 {
			total[i] += total[p.links[before[i]].from]
		}
		if last < 0 || total[i] > total[last] {
			last = i
		}
	}
	for last >= 0 {
		p.chain[last] = true
		k := before[last]
		if k < 0 {
			return
		}
		p.links[k].longest = true
		last = p.links[k].from
	}
}

// bend makes the columns, with a place for each long line in those that it passes.
func (p *plan) bend() {
	for _, b := range p.boxes {
		p.put(b)
	}
	bends := 0
	for i := range p.links {
		l := &p.links[i]
		from, to := p.boxes[l.from], p.boxes[l.to]
		l.via = []*cell{from}
		if passed := to.layer - from.layer - 1; bends+passed <= maxBends {
			bends += passed
			for layer := from.layer + 1; layer < to.layer; layer++ {
				c := &cell{task: -1, layer: layer, height: lane, importance: 2}
				p.put(c)
				l.via = append(l.via, c)
			}
		}
		l.via = append(l.via, to)
		for k := 1; k < len(l.via); k++ {
			a, b := l.via[k-1], l.via[k]
			a.down, b.up = append(a.down, b), append(b.up, a)
		}
	}
}

func (p *plan) put(c *cell) {
	for len(p.layers) <= c.layer {
		p.layers = append(p.layers, nil)
	}
	c.at = len(p.layers[c.layer])
	p.layers[c.layer] = append(p.layers[c.layer], c)
}
