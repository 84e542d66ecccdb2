package mounts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mount is one line of mountinfo. The zero value is a mount that nothing is
// known of; it doesn't hang.
type Mount struct {
	ID, Parent int
	// Device is "major:minor" of the file system, the same for each of its mounts.
	Device string
	// Root is the directory of the file system that is mounted at Point.
	Root, Point string
	// Type is the kernel's name of the file system, such as "nfs4" or
	// "fuse.sshfs"; Source is where it comes from, such as "server:/export".
	Type, Source string

	remote bool
}

// MayHang says whether a system call on this mount may wait for something other
// than this machine's own disks: a server, a process, an automounter.
func (m Mount) MayHang() bool { return m.remote }

// String names the mount in a message: "/mnt/data (nfs4)".
func (m Mount) String() string {
	if m.Type == "" {
		return m.Point
	}
	return m.Point + " (" + m.Type + ")"
}

// key of a mount among its siblings.
type key struct {
	parent int
	point  string
}

// Table is the tree of mounts at one moment. It is never changed, so goroutines
// can share it.
type Table struct {
	root     Mount
	children map[key]Mount
	byID     map[int]Mount
	mayHang  bool // one of them
}

// MayHang says whether any mount in the table may hang.
func (t *Table) MayHang() bool { return t.mayHang }

// errLine says that a line isn't one of mountinfo.
var errLine = errors.New("not a line of mountinfo")

// Parse reads the text of a mountinfo file (proc(5)). It skips lines that are
// not well-formed and reports the first of them; the Table is usable anyway.
func Parse(text string) (*Table, error) {
	t := &Table{children: map[key]Mount{}, byID: map[int]Mount{}}
	var all []Mount
	var overlays []overlay
	var firstBad error
	for line := range strings.Lines(text) {
		m, options, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			if firstBad == nil {
				firstBad = fmt.Errorf("%w: %.100q", err, line)
			}
			continue
		}
		if m.Type == "overlay" {
			overlays = append(overlays, overlay{m.ID, options})
		}
		all = append(all, m)
		t.byID[m.ID] = m
	}
	t.plant(all)
	t.markOverlays(overlays)
	for _, m := range t.children {
		t.mayHang = t.mayHang || m.MayHang()
	}
	return t, firstBad
}

// plant links the mounts. The root is the newest mount on "/" that hangs on no
// other; in a chroot that is no mount there is none, and then mounts whose
// parent isn't listed are its children.
func (t *Table) plant(all []Mount) {
	t.root = Mount{ID: -1, Parent: -1, Point: "/"}
	for _, m := range all {
		if _, ok := t.byID[m.Parent]; m.Point == "/" && (!ok || m.Parent == m.ID) {
			t.root = m
		}
	}
	// The process itself lives on it: where it hangs, there is nobody to ask.
	t.root.remote = false
	for _, m := range all {
		if m.ID == t.root.ID {
			continue
		}
		parent := m.Parent
		if _, ok := t.byID[parent]; !ok {
			parent = t.root.ID
		}
		t.children[key{parent, m.Point}] = m // the newest on a point wins
	}
}

// top goes from m to what is mounted at path, and to what lies over that.
func (t *Table) top(m Mount, path string) Mount {
	for range len(t.byID) { // a table that lies may go in circles
		next, ok := t.children[key{m.ID, path}]
		if !ok {
			break
		}
		m = next
	}
	return m
}

// parseLine reads "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS TAGS… - TYPE SOURCE
// OPTIONS".
func parseLine(line string) (m Mount, options string, err error) {
	// No blank-separated field but the separator is "-" alone, as tags have names.
	before, after, ok := strings.Cut(line, " - ")
	fields, kind := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(fields) < 6 || len(kind) < 2 {
		return m, "", errLine
	}
	id, err1 := strconv.ParseInt(fields[0], 10, 32)
	parent, err2 := strconv.ParseInt(fields[1], 10, 32)
	if err1 != nil || err2 != nil || id < 0 || parent < 0 || !strings.HasPrefix(fields[4], "/") {
		return m, "", errLine
	}
	m = Mount{
		ID: int(id), Parent: int(parent), Device: fields[2],
		Root: Unescape(fields[3]), Point: Unescape(fields[4]),
		Type: Unescape(kind[0]), Source: Unescape(kind[1]),
	}
	m.remote = mayHang(m.Type)
	if len(kind) > 2 {
		options = kind[2]
	}
	return m, options, nil
}

// Unescape reads the octal escapes of mountinfo: "\040" is a blank.
func Unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out = append(out, byte(c))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// overlay is a mount whose layers lie on others.
type overlay struct {
	id      int
	options string
}

// markOverlays: an overlay may hang where one of its layers does. Layers are
// named as its maker saw them, so in a container they often mean nothing here.
func (t *Table) markOverlays(all []overlay) {
	for _, o := range all {
		hangs := slices.ContainsFunc(layers(o.options), func(path string) bool {
			at, err := t.find(path, nil)
			return err == nil && at.at.MayHang()
		})
		if hangs && o.id != t.root.ID {
			t.mark(o.id)
		}
	}
}

func (t *Table) mark(id int) {
	m := t.byID[id]
	m.remote = true
	t.byID[id] = m
	for k, child := range t.children {
		if child.ID == id {
			t.children[k] = m
		}
	}
}

// layers of an overlay, absolute ones.
func layers(options string) (paths []string) {
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir":
			for path := range strings.SplitSeq(Unescape(value), ":") {
				if strings.HasPrefix(path, "/") {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}
