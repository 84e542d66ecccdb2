package layout

import (
	"math"
)

// settle gives each cell its height: as near to its neighbours' as the others of
// its column let it.
func (p *plan) settle() {
	for _, layer := range p.layers {
		y := 0.0
		for _, c := range layer {
			c.y = y + c.height/2
			y += c.height
		}
	}
	for i := range 2 * sweeps {
		for k := range p.layers {
			if i%2 == 0 {
				p.spread(p.layers[k], func(c *cell) []*cell { return c.up })
			} else {
				p.spread(p.layers[len(p.layers)-1-k], func(c *cell) []*cell { return c.down })
			}
		}
	}
	top := math.Inf(1)
	for _, layer := range p.layers {
		top = min(top, layer[0].y-layer[0].height/2)
	}
	for _, layer := range p.layers {
		for _, c := range layer {
			c.y -= top
		}
	}
}

// block is a run of cells that touch each other.
type block struct{ sum, weight float64 }

func (b block) mean() float64 { return b.sum / b.weight }

// spread moves the cells of a column to where their neighbours are, with the least
// sum of squares that keeps their order and distances: neighbours that would lie on
// one another become a block, which goes to the mean of what its cells want.
func (p *plan) spread(layer []*cell, near func(*cell) []*cell) {
	offset := make([]float64, len(layer))
	blocks, sizes := make([]block, 0, len(layer)), make([]int, 0, len(layer))
	for i, c := range layer {
		if i > 0 {
			offset[i] = offset[i-1] + (layer[i-1].height+c.height)/2
		}
		want, weight := p.wanted(c, near(c))
		blocks, sizes = append(blocks, block{(want - offset[i]) * weight, weight}), append(sizes, 1)
		for n := len(blocks); n > 1 && blocks[n-2].mean() > blocks[n-1].mean(); n-- {
			blocks[n-2].sum += blocks[n-1].sum
			blocks[n-2].weight += blocks[n-1].weight
			sizes[n-2] += sizes[n-1]
			blocks, sizes = blocks[:n-1], sizes[:n-1]
		}
	}
	i := 0
	for k, b := range blocks {
		for range sizes[k] {
			layer[i].y = b.mean() + offset[i]
			i++
		}
	}
}

// wanted is where a cell would be by its neighbours, and how much that counts:
// the longest chain and long lines are rather straight.
func (p *plan) wanted(c *cell, near []*cell) (y, weight float64) {
	if len(near) == 0 {
		return c.y, c.importance / 4
	}
	sum := 0.0
	for _, n := range near {
		w := n.importance
		if c.task >= 0 && n.task >= 0 && p.chain[c.task] && p.chain[n.task] {
			w = 8
		}
		sum += n.y * w
		weight += w
	}
	return sum / weight, weight
}
