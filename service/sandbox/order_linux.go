package sandbox

import (
	"encoding/binary"
	"errors"
)

// order is what a shim is told to do. It comes with descriptors: standard input, output and error, a pipe for how it ended, and the leaf if hasLeaf.
//
// It is written as lengths and bytes by hand: it is read by a program that should start at once.
type order struct {
	level   Isolation
	network bool
	far     bool // the directory and the program are still to be found, and may be on a mount that hangs
	users   bool // in a user namespace: there is one user, and no groups to set
	hasLeaf bool
	uid     int64 // -1: as the shim
	gid     int64
	groups  []int64

	path         string
	searchPath   string // of a far order's program
	argv, env    []string
	dir          string
	readOnly     []string // shown though hidden
	writable     []string // shown though hidden, and writable
	hide         []string // never seen by a run
	homes        []string // not seen by a strict run
	scratchBytes int64    // writes to dir go to memory, this much at most
	tmpBytes     int64    // size of /tmp and its like; 0 means the kernel's default
	rlimits      []int64  // resource and value in turn
	nice         int64
	overlay      string   // the file system that makes scratch; empty: none does
	sockets      []string // files that a strict run could connect to
}

// orderFDs is how many descriptors come with an order without a leaf.
const orderFDs = 4

// maxOrderBytes bounds what a shim reads: arguments and environment together are bounded by the kernel to less.
const maxOrderBytes = 16 << 20

var errOrder = errors.New("the order is not well-formed")

func (o *order) encode() []byte {
	var e encoder
	e.text(string(o.level))
	for _, flag := range []bool{o.network, o.far, o.users, o.hasLeaf} {
		e.flag(flag)
	}
	e.number(o.uid)
	e.number(o.gid)
	e.numbers(o.groups)
	e.text(o.path)
	e.text(o.searchPath)
	e.texts(o.argv)
	e.texts(o.env)
	e.text(o.dir)
	for _, list := range [][]string{o.readOnly, o.writable, o.hide, o.homes} {
		e.texts(list)
	}
	e.number(o.scratchBytes)
	e.number(o.tmpBytes)
	e.numbers(o.rlimits)
	e.number(o.nice)
	e.text(o.overlay)
	e.texts(o.sockets)
	return e.out
}

func decodeOrder(in []byte) (*order, error) {
	d := decoder{in: in}
	o := &order{level: Isolation(d.text())}
	for _, flag := range []*bool{&o.network, &o.far, &o.users, &o.hasLeaf} {
		*flag = d.flag()
	}
	o.uid, o.gid, o.groups = d.number(), d.number(), d.numbers()
	o.path, o.searchPath, o.argv, o.env, o.dir = d.text(), d.text(), d.texts(), d.texts(), d.text()
	for _, list := range []*[]string{&o.readOnly, &o.writable, &o.hide, &o.homes} {
		*list = d.texts()
	}
	o.scratchBytes, o.tmpBytes, o.rlimits, o.nice = d.number(), d.number(), d.numbers(), d.number()
	o.overlay, o.sockets = d.text(), d.texts()
	if d.bad || len(d.in) > 0 || len(o.argv) == 0 || len(o.rlimits)%2 != 0 {
		return nil, errOrder
	}
	return o, nil
}

type encoder struct{ out []byte }

func (e *encoder) number(n int64) { e.out = binary.AppendVarint(e.out, n) }

func (e *encoder) flag(on bool) {
	if on {
		e.number(1)
	} else {
		e.number(0)
	}
}

func (e *encoder) text(s string) {
	e.number(int64(len(s)))
	e.out = append(e.out, s...)
}

func (e *encoder) texts(list []string) {
	e.number(int64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

func (e *encoder) numbers(list []int64) {
	e.number(int64(len(list)))
	for _, n := range list {
		e.number(n)
	}
}

// decoder is bad from the first thing on that is not as it should be, and gives zeros.
type decoder struct {
	in  []byte
	bad bool
}

func (d *decoder) number() int64 {
	n, size := binary.Varint(d.in)
	if size <= 0 {
		d.bad, d.in = true, nil
		return 0
	}
	d.in = d.in[size:]
	return n
}

func (d *decoder) flag() bool {
	n := d.number()
	d.bad = d.bad || n&^1 != 0
	return n == 1
}

// length reads the length of what needs at least a byte for each.
func (d *decoder) length() int {
	n := d.number()
	if n < 0 || n > int64(len(d.in)) {
		d.bad, d.in = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.length()
	s := string(d.in[:n])
	d.in = d.in[n:]
	for i := range len(s) {
		if s[i] == 0 {
			d.bad = true
		}
	}
	return s
}

func (d *decoder) texts() (list []string) {
	for range d.length() {
		if d.bad {
			return nil
		}
		list = append(list, d.text())
	}
	return list
}

func (d *decoder) numbers() (list []int64) {
	for range d.length() {
		if d.bad {
			return nil
		}
		list = append(list, d.number())
	}
	return list
}
