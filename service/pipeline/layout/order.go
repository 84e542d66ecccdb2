package layout

import (
	"slices"
)

// sweeps is how often order and places are improved, there and back.
const sweeps = 6

// sort orders each column by where the cells before it and behind it are, and
// keeps the order with the fewest crossings.
func (p *plan) sort() {
	best, fewest := p.orders(), p.crossings()
	for i := 0; i < sweeps && fewest > 0; i++ {
		for k := range p.layers {
			layer, near := p.layers[k], func(c *cell) []*cell { return c.up }
			if i%2 == 1 {
				layer, near = p.layers[len(p.layers)-1-k], func(c *cell) []*cell { return c.down }
			}
			slices.SortStableFunc(layer, func(a, b *cell) int {
				return compare(middle(a, near(a)), middle(b, near(b)))
			})
			for at, c := range layer {
				c.at = at
			}
		}
		if n := p.crossings(); n < fewest {
			best, fewest = p.orders(), n
		}
	}
	for _, layer := range p.layers {
		slices.SortFunc(layer, func(a, b *cell) int { return best[a] - best[b] })
		for at, c := range layer {
			c.at = at
		}
	}
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// middle is where a cell would be best by its neighbours.
func middle(c *cell, near []*cell) float64 {
	if len(near) == 0 {
		return float64(c.at)
	}
	sum := 0
	for _, n := range near {
		sum += n.at
	}
	return float64(sum) / float64(len(near))
}

func (p *plan) orders() map[*cell]int {
	all := map[*cell]int{}
	for _, layer := range p.layers {
		for _, c := range layer {
			all[c] = c.at
		}
	}
	return all
}

// crossings counts the lines that cross between columns: pairs whose ends are in
// another order than their beginnings.
func (p *plan) crossings() int {
	total := 0
	for _, layer := range p.layers {
		var ends []int
		for _, c := range layer {
			from := len(ends)
			for _, d := range c.down {
				if d.layer == c.layer+1 {
					ends = append(ends, d.at)
				}
			}
			slices.Sort(ends[from:])
		}
		total += inversions(ends, make([]int, len(ends)))
	}
	return total
}

// inversions sorts a list and counts the pairs that were the wrong way round.
func inversions(list, spare []int) int {
	if len(list) < 2 {
		return 0
	}
	half := len(list) / 2
	a, b := list[:half], list[half:]
	n := inversions(a, spare) + inversions(b, spare)
	out := spare[:0]
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
			continue
		}
		n += len(a)
		out, b = append(out, b[0]), b[1:]
	}
	out = append(append(out, a...), b...)
	copy(list, out)
	return n
}
