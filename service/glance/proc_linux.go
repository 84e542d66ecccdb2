package glance

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/pb"
)

// ticksASecond is USER_HZ, 100 on all of Go's platforms.
const ticksASecond = 100

// readsProc: processes are read from /proc, where a command line may never come.
const readsProc = true

// procReader reads processes from /proc with three calls to the kernel a file.
type procReader struct {
	fd       int // /proc
	buf      []byte
	dirents  []byte
	path     []byte
	pageSize int64
}

func openProcesses(proc string) (*procReader, error) {
	fd, err := unix.Open(proc, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: proc, Err: err}
	}
	return &procReader{
		fd: fd, buf: make([]byte, maxCmdline+1), dirents: make([]byte, 32<<10),
		path: make([]byte, 0, 64), pageSize: int64(os.Getpagesize()),
	}, nil
}

func (r *procReader) close() { unix.Close(r.fd) }

func (r *procReader) pids(ctx context.Context) ([]int64, error) {
	return r.numbersIn(r.fd, ctx.Err)
}

// numbersIn gives the names in a directory that are numbers.
func (r *procReader) numbersIn(fd int, check func() error) ([]int64, error) {
	var all []int64
	err := eachDirent(fd, r.dirents, func(name []byte) {
		if n, ok := number(name); ok {
			all = append(all, n)
		}
	}, check)
	return all, err
}

// number reads digits only, faster than strconv and without a string.
func number(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<58 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0
}

// read reads the beginning of /proc/PID/NAME, or /proc/PID/task/TID/NAME; the
// bytes are valid until the next read.
func (r *procReader) read(pid, tid int64, name string) ([]byte, bool) {
	r.path = strconv.AppendInt(r.path[:0], pid, 10)
	if tid != 0 {
		r.path = append(r.path, "/task/"...)
		r.path = strconv.AppendInt(r.path, tid, 10)
	}
	r.path = append(append(r.path, '/'), name...)
	fd, err := unix.Openat(r.fd, string(r.path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, r.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return r.buf[:max(n, 0)], err == nil
	}
}

func (r *procReader) stat(pid int64) (procStat, bool) { return r.parse(r.read(pid, 0, "stat")) }

func (r *procReader) parse(b []byte, ok bool) (procStat, bool) {
	if !ok {
		return procStat{}, false
	}
	s, ok := parseProcStat(b)
	s.memory *= r.pageSize
	return s, ok
}

// cmdline of a process; "" of one that has ended, or of another's under hidepid.
// Where a thread of it is in a call that may not end, the command line may not be
// had either, because the kernel locks the memory it is in.
func (r *procReader) cmdline(pid int64, isWaiting bool) string {
	if isWaiting {
		return slowly.cmdline(r.fd, pid)
	}
	b, _ := r.read(pid, 0, "cmdline")
	return string(b)
}

// threads of a process, the main one too, and whether one of them is in a call
// that may not end.
func (r *procReader) threads(s *procStat) (all []*pb.Thread, isWaiting bool) {
	isWaiting = s.state == 'D'
	if s.threads <= 1 {
		return []*pb.Thread{thread(s)}, isWaiting
	}
	r.path = strconv.AppendInt(r.path[:0], s.pid, 10)
	fd, err := unix.Openat(r.fd, string(append(r.path, "/task"...)), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, isWaiting
	}
	defer unix.Close(fd)
	tids, err := r.numbersIn(fd, func() error { return nil })
	if err != nil {
		return nil, isWaiting
	}
	slices.Sort(tids)
	all = make([]*pb.Thread, 0, len(tids))
	for _, tid := range tids {
		if t, ok := r.parse(r.read(s.pid, tid, "stat")); ok {
			all = append(all, thread(&t))
			isWaiting = isWaiting || t.state == 'D'
		}
	}
	return all, isWaiting
}

// parseProcStat reads /proc/PID/stat. The name is in parentheses and may have
// blanks and parentheses itself, so it ends at the last one. Memory is in pages.
func parseProcStat(b []byte) (s procStat, ok bool) {
	open, closing := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || closing < open {
		return s, false
	}
	if s.pid, ok = number(b[:open-1]); !ok || b[open-1] != ' ' {
		return s, false
	}
	s.name = string(b[open+1 : closing])
	const utime, stime, threads, rss = 11, 12, 17, 21 // counted from the state on
	i := 0
	for field := range bytes.FieldsSeq(b[closing+1:]) {
		n, isNumber := number(field)
		switch i {
		case 0:
			s.state = field[0]
		case utime, stime:
			s.ticks += n
		case threads:
			s.threads = n
		case rss:
			s.memory = n
			s.seconds = float64(s.ticks) / ticksASecond
			return s, isNumber
		}
		i++
	}
	return s, false
}
