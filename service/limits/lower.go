package limits

import (
	"maps"
	"strconv"
)

// Over returns s with the limits of other that s does not name.
func (s Set) Over(other Set) Set {
	all := maps.Clone(other)
	if all == nil {
		all = Set{}
	}
	maps.Copy(all, s)
	return all
}

// Only returns the limits for which holds is true.
func (s Set) Only(holds func(name string) bool) Set {
	some := Set{}
	for name, v := range s {
		if holds(name) {
			some[name] = v
		}
	}
	return some
}

// Change is a limit that was above a maximum.
type Change struct {
	Name     string
	From, To Value
}

func (c Change) String() string {
	from, to := c.From.String(), c.To.String()
	if c.From.kind == Processor || c.From.kind == Disk {
		from, to = strconv.Quote(from), strconv.Quote(to)
	}
	return "limits." + c.Name + " lowered from " + from + " to " + to
}

// Lower returns s held to a maximum, in which each limit is at most what most names; one that s does
// not name is then named. The changes are of those that s named.
func (s Set) Lower(most Set) (Set, []Change) {
	all, changes := maps.Clone(s), []Change(nil)
	if all == nil {
		all = Set{}
	}
	for _, row := range table {
		top, bounded := most[row.Name]
		if !bounded || top.IsMax() {
			continue
		}
		v, named := s[row.Name]
		switch {
		case !named && row.Unset > 0 && row.Unset <= top.n:
		case !named:
			all[row.Name] = top
		default:
			low, lowered := v.lower(top)
			all[row.Name] = low
			if lowered {
				changes = append(changes, Change{row.Name, v, low})
			}
		}
	}
	return all, changes
}

func (v Value) lower(most Value) (low Value, lowered bool) {
	switch v.kind {
	case Processor:
		if v.cpu.isAbove(most.cpu) {
			return most, true
		}
	case Disk:
		devices, _ := parseDisk(v.device) // it has been read before
		top, _ := parseDisk(most.device)
		lowered = devices.lower(top)
		v.device = devices.String()
		return v, lowered
	default:
		if v.n > most.n {
			return most, true
		}
	}
	return v, false
}
