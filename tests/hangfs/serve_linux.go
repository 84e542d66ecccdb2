package hangfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Op is a request of the kernel's (linux/fuse.h).
type Op uint32

// The requests that are answered unless they are told to hang.
const (
	Lookup   Op = 1
	Forget   Op = 2
	Getattr  Op = 3
	Open     Op = 14
	Read     Op = 15
	Statfs   Op = 17
	Release  Op = 18
	Flush    Op = 25
	initOp   Op = 26
	Opendir  Op = 27
	Readdir  Op = 28
	Closedir Op = 29
	Access   Op = 34
	forgets  Op = 42
)

var names = map[string]Op{
	"lookup": Lookup, "getattr": Getattr, "open": Open, "read": Read, "statfs": Statfs, "release": Release,
	"flush": Flush, "opendir": Opendir, "readdir": Readdir, "closedir": Closedir, "access": Access,
}

const (
	mark     = "runnel-hangfs" // os.Args[0] of the process that serves
	deviceFD = 3
	all      = "all"
)

// Main serves a mount if the process was started for that, and then it never
// returns.
func Main() {
	mainCalled = true
	if len(os.Args) != 2 || os.Args[0] != mark {
		return
	}
	s := &server{device: os.NewFile(deviceFD, "/dev/fuse"), hanging: map[Op]bool{}}
	go s.obey()
	s.serve()
	os.Exit(0)
}

var mainCalled bool

// server answers the kernel.
type server struct {
	device *os.File

	mu      sync.Mutex
	isDeaf  bool // nothing is answered
	hanging map[Op]bool
}

// obey reads which requests hang from now on, a line of names at a time, and
// acknowledges each. When the test has ended, so does this process, and its mount.
func (s *server) obey() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		s.mu.Lock()
		s.isDeaf = false
		clear(s.hanging)
		for name := range strings.FieldsSeq(lines.Text()) {
			s.isDeaf = s.isDeaf || name == all
			s.hanging[names[name]] = true
		}
		s.mu.Unlock()
		os.Stdout.WriteString("\n")
	}
	_ = unix.Unmount(os.Args[1], unix.MNT_DETACH) // the test may have done it
	os.Exit(0)
}

func (s *server) hangs(op Op) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return op != initOp && (s.isDeaf || s.hanging[op])
}

const headerBytes = 40

func (s *server) serve() {
	buf := make([]byte, 1<<20)
	for {
		n, err := s.device.Read(buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) { // the caller has gone meanwhile
			continue
		}
		if err != nil || n < headerBytes {
			return // unmounted
		}
		op, node := Op(binary.NativeEndian.Uint32(buf[4:])), binary.NativeEndian.Uint64(buf[16:])
		if op == Forget || op == forgets || s.hangs(op) {
			continue
		}
		body, errno := answer(op, node, buf[headerBytes:n])
		head := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
		head = binary.NativeEndian.AppendUint32(head, uint32(-int32(errno)))
		head = append(head, buf[8:16]...) // the request's number
		_, _ = s.device.Write(append(head, body...))
	}
}

// node of the tree: every mount has the same.
type node struct {
	name    string
	mode    uint32
	content string
}

// tree by number; the root has number 1.
var tree = []node{
	1: {".", unix.S_IFDIR | 0o755, ""},
	2: {"dir", unix.S_IFDIR | 0o755, ""},
	3: {"file", unix.S_IFREG | 0o644, "hello\n"},
	4: {"program", unix.S_IFREG | 0o755, "#!/bin/sh\necho ran\n"},
}

func answer(op Op, number uint64, in []byte) (body []byte, errno unix.Errno) {
	le := binary.NativeEndian
	switch op {
	case initOp:
		out := make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[20:], 1<<16)
		return out, 0
	case Lookup:
		name := strings.TrimRight(string(in), "\x00")
		i := slices.IndexFunc(tree, func(n node) bool { return n.name == name && n.mode != 0 })
		if number != 1 || i < 0 {
			return nil, unix.ENOENT
		}
		out := le.AppendUint64(nil, uint64(i))
		return append(append(out, make([]byte, 32)...), attributes(uint64(i))...), 0
	case Getattr:
		return append(make([]byte, 16), attributes(number)...), 0
	case Open, Opendir:
		return make([]byte, 16), 0
	case Read:
		offset := min(le.Uint64(in[8:]), uint64(len(tree[number].content)))
		return []byte(tree[number].content[offset:]), 0
	case Readdir:
		if number != 1 || le.Uint64(in[8:]) > 0 {
			return nil, 0
		}
		return listing(), 0
	case Statfs:
		return make([]byte, 80), 0
	case Release, Closedir, Flush, Access:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

// attributes is a struct fuse_attr.
func attributes(number uint64) []byte {
	n := tree[number]
	out := binary.NativeEndian.AppendUint64(nil, number)
	out = binary.NativeEndian.AppendUint64(out, uint64(len(n.content)))
	out = append(out, make([]byte, 8)...)
	for range 3 {
		out = binary.NativeEndian.AppendUint64(out, uint64(time.Now().Unix()))
	}
	out = append(out, make([]byte, 12)...)
	out = binary.NativeEndian.AppendUint32(out, n.mode)
	out = binary.NativeEndian.AppendUint32(out, 1)
	return append(out, make([]byte, 20)...)
}

// listing is the root's, as struct fuse_dirents.
func listing() (out []byte) {
	for i, n := range tree[2:] {
		out = binary.NativeEndian.AppendUint64(out, uint64(i+2))
		out = binary.NativeEndian.AppendUint64(out, uint64(i+1))
		out = binary.NativeEndian.AppendUint32(out, uint32(len(n.name)))
		out = binary.NativeEndian.AppendUint32(out, n.mode>>12)
		out = append(out, n.name...)
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
	}
	return out
}
