package layout

import (
	"fmt"
	"math"
	"strings"
)

// left is the left side of a column.
func left(layer int) int { return margin + layer*column }

func round(y float64) int { return margin + int(math.Round(y)) }

// draw is the picture in whole pixels.
func (p *plan) draw() Graph {
	g := Graph{Nodes: []Box{}, Edges: []Arrow{}}
	for i, b := range p.boxes {
		n := Box{Name: p.tasks[i].Name, X: left(b.layer), Y: round(b.y - BoxHeight/2), Longest: p.chain[i]}
		g.Nodes = append(g.Nodes, n)
	}
	for _, layer := range p.layers {
		for _, c := range layer {
			g.Width = max(g.Width, left(c.layer)+BoxWidth+margin)
			g.Height = max(g.Height, round(c.y+c.height/2)+margin)
		}
	}
	for _, l := range p.links {
		g.Edges = append(g.Edges, Arrow{From: p.tasks[l.from].Name, To: p.tasks[l.to].Name, Path: path(l.via), Longest: l.longest})
	}
	return g
}

// path leads from the right side of the first box to the left side of the last,
// straight through the columns between.
func path(via []*cell) string {
	var b strings.Builder
	last := len(via) - 1
	for i, c := range via {
		x, y := left(c.layer), round(c.y)
		if i > 0 {
			from := via[i-1]
			half := (left(from.layer) + BoxWidth + x) / 2
			fmt.Fprintf(&b, "C%d %d %d %d %d %d", half, round(from.y), half, y, x, y)
		}
		switch {
		case i == 0:
			fmt.Fprintf(&b, "M%d %d", x+BoxWidth, y)
		case i < last:
			fmt.Fprintf(&b, "H%d", x+BoxWidth)
		}
	}
	return b.String()
}
