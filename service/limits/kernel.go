package limits

import (
	"slices"
	"strings"
	"time"
)

// Needs lists the cgroup controllers that hold a run to the set, each with the name of a limit that
// needs it.
func (s Set) Needs() map[string]string {
	need := map[string]string{}
	for _, row := range table {
		if row.Controller != "" && s.Has(row.Name) {
			need[row.Controller] = row.Name
		}
	}
	return need
}

// Setting is a file of a cgroup and what is written to it.
type Setting struct{ File, Value string }

// Cgroup lists what a run's cgroup is told before the run is born there.
func (s Set) Cgroup() (all []Setting) {
	for _, row := range table {
		if row.Controller == "" || !s.Has(row.Name) {
			continue
		}
		text := s[row.Name].String()
		for line := range strings.SplitSeq(text, "\n") { // of io.max the kernel takes one device a write
			all = append(all, Setting{row.File, line})
		}
		if row.Name == MemoryMax {
			all = append(all, Setting{"memory.oom.group", "1"}, Setting{"memory.swap.max", "0"})
		}
	}
	return all
}

// Rlimit is a resource limit of each process, soft and hard.
type Rlimit struct {
	Resource string // cpu (seconds), fsize, nofile, stack, core or nproc
	Max      uint64
}

// Rlimits lists those that the set bounds. Processor time is in whole seconds there, so a part of
// one is rounded up.
func (s Set) Rlimits() (all []Rlimit) {
	for _, row := range table {
		if row.Resource == "" || !s.Has(row.Name) {
			continue
		}
		n := s[row.Name].n
		if row.Kind == Time {
			n = int64((time.Duration(n) + time.Second - 1) / time.Second)
			if n < 0 { // the sum above is more than an int64 has
				n = int64(noLimit / time.Second)
			}
		}
		all = append(all, Rlimit{row.Resource, uint64(n)})
	}
	return all
}

// NamesResource says whether a limit that sets a resource limit was named, "max" included.
func (s Set) NamesResource(resource string) bool {
	return slices.ContainsFunc(table, func(row Row) bool {
		_, named := s[row.Name]
		return row.Resource == resource && named
	})
}

// Duration is a Time limit's bound; 0 means none.
func (s Set) Duration(name string) time.Duration {
	n, _ := s.Number(name)
	return time.Duration(n)
}

// Bytes is a Size limit's bound; 0 means none, or nothing at all where 0 is a value.
func (s Set) Bytes(name string) int64 {
	n, _ := s.Number(name)
	return n
}
