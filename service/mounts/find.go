package mounts

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

const (
	maxLinks     = 40   // as the kernel's own walk
	maxPathBytes = 4096 // PATH_MAX
	maxSteps     = maxLinks * maxPathBytes / 2
)

var (
	errRelative = errors.New("not an absolute path")
	errLinks    = errors.New("too many levels of symbolic links")
)

// Find gives the mount that an absolute path leads to, its last name followed if
// it is a link, or the first mount on the way that may hang. What doesn't exist
// is on the mount where it would be.
//
// Links are read on local mounts. Those of /proc that lead to wherever a process
// is (cwd, root, exe, fd/3) are not: they count as mounts that may hang.
func (t *Table) Find(path string) (Mount, error) {
	m, _, err := t.Resolve(path)
	return m, err
}

// Resolve is Find that also gives the path without links, as far as it was
// walked: to the end where the mount doesn't hang.
func (t *Table) Resolve(path string) (m Mount, real string, err error) {
	at, err := t.find(path, readlink)
	return at.at, cmp.Or(at.path, "/"), err
}

// ByID gives the mount of a number, such as mnt_id in /proc/self/fdinfo.
func (t *Table) ByID(id int) (Mount, bool) {
	m, ok := t.byID[id]
	return m, ok
}

// Below gives the mounts that may hang and lie on names of a directory, whose
// path has no links.
func (t *Table) Below(dir string) map[string]Mount {
	var found map[string]Mount
	prefix := strings.TrimSuffix(dir, "/") + "/"
	for k, m := range t.children {
		name, ok := strings.CutPrefix(k.point, prefix)
		if !ok || name == "" || strings.Contains(name, "/") {
			continue
		}
		if m = t.top(m, k.point); !m.MayHang() {
			continue
		}
		if found == nil {
			found = map[string]Mount{}
		}
		found[name] = m
	}
	return found
}

// step is a directory that the walk has come through.
type step struct {
	path string // without the slash at its end: "" is the root
	at   Mount
}

// walk is the state of one Find.
type walk struct {
	table    *Table
	readlink func(path string) (target string, ok bool) // nil: links are not followed
	way      []step
	rest     string
	links    int
}

func (t *Table) find(path string, readlink func(string) (string, bool)) (step, error) {
	if !strings.HasPrefix(path, "/") {
		return step{}, fmt.Errorf("cannot find the mount of %.100q: %w", path, errRelative)
	}
	if len(path) > maxPathBytes {
		return step{}, fmt.Errorf("cannot find the mount of %.100q…: file name too long", path)
	}
	w := &walk{table: t, readlink: readlink, rest: path}
	w.toRoot()
	for range maxSteps {
		at := w.here()
		if w.rest = strings.TrimLeft(w.rest, "/"); w.rest == "" || at.at.MayHang() {
			return at, nil
		}
		name, rest, _ := strings.Cut(w.rest, "/")
		w.rest = rest
		if err := w.enter(name); err != nil {
			return step{}, fmt.Errorf("cannot find the mount of %.100q: %w", path, err)
		}
	}
	return step{}, fmt.Errorf("cannot find the mount of %.100q: %w", path, errLinks)
}

func (w *walk) here() step { return w.way[len(w.way)-1] }

func (w *walk) toRoot() {
	w.way = append(w.way[:0], step{"", w.table.top(w.table.root, "/")})
}

// enter goes into one name.
func (w *walk) enter(name string) error {
	switch name {
	case ".":
		return nil
	case "..":
		if len(w.way) > 1 {
			w.way = w.way[:len(w.way)-1]
		}
		return nil
	}
	from := w.here()
	path := from.path + "/" + name
	at := w.table.top(from.at, path)
	if at.ID == from.at.ID { // a mount's point is no link
		if from.at.Type == "proc" && isMagic(strings.TrimPrefix(path, from.at.Point)) {
			at.remote = true
		} else if target, ok := w.follow(path); ok {
			return w.goTo(target)
		}
	}
	w.way = append(w.way, step{path, at})
	return nil
}

func (w *walk) follow(path string) (target string, ok bool) {
	if w.readlink == nil {
		return "", false
	}
	return w.readlink(path)
}

func (w *walk) goTo(target string) error {
	if w.links++; w.links > maxLinks {
		return errLinks
	}
	if strings.HasPrefix(target, "/") {
		w.toRoot()
	}
	w.rest = target + "/" + w.rest
	return nil
}

// isMagic says whether a name below /proc is a link that the kernel doesn't
// follow by its text, or whose reading may wait for the process.
func isMagic(below string) bool {
	parts := strings.Split(strings.Trim(below, "/"), "/")
	if len(parts) < 2 || parts[0] == "" || parts[0][0] < '0' || parts[0][0] > '9' {
		return false
	}
	parts = parts[1:]
	if len(parts) > 2 && parts[0] == "task" {
		parts = parts[2:]
	}
	switch parts[0] {
	case "cwd", "root", "exe":
		return len(parts) == 1
	case "fd", "map_files", "ns":
		return len(parts) == 2
	}
	return false
}
