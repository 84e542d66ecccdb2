package glance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/helper"
	"github.com/runnel-io/runnel/service/mounts"
)

// DefaultDirLimit is how many entries a page has at most.
const DefaultDirLimit = 1000

const timeFormat = "2006-01-02 15:04:05"

// attrs of an entry, by lstat.
type attrs struct {
	mode     fs.FileMode
	size     int64
	time     time.Time
	uid, gid uint32
}

// dir lists one page, and says how many bytes it takes.
func (g *Glancer) dir(ctx context.Context, q *pb.DirQuery, room int, reply *pb.DirReply) (used int, err error) {
	path := pathIn(q.GetPath(), q.GetPathBytes())
	if path == "" {
		return 0, errors.New("invalid dir: dir.path is missing")
	}
	limit := q.GetLimit()
	if limit < 0 {
		return 0, fmt.Errorf("invalid limit: dir.limit is %d and must not be negative", limit)
	}
	if m, is := g.mayHang(path); is {
		seen, err := g.aside(ctx, m, room, &pb.Glance{Dir: q})
		reply.Entries, reply.Next = seen.GetDir().GetEntries(), seen.GetDir().GetNext()
		for _, e := range reply.Entries {
			used += entrySize(e)
		}
		return used, dirError(path, err)
	}
	if limit == 0 {
		limit = DefaultDirLimit
	}
	// More than could fit need not be kept.
	limit = max(1, min(limit, int64(room/entryBytes)+1))
	after, err := dirAfter(q.GetNext())
	if err != nil {
		return 0, err
	}
	d, err := g.openDir(path)
	if err != nil {
		return 0, dirError(path, err)
	}
	defer d.Close()
	names, more, err := smallest(ctx, d, after, int(limit))
	if err != nil {
		return 0, dirError(path, err)
	}
	l, err := g.listerOf(ctx, d, path, names)
	if err != nil {
		return 0, dirError(path, err)
	}
	defer l.done()
	used, err = l.fill(ctx, names, room, reply)
	if more && err == nil && reply.Next == "" {
		reply.Next = dirNext(names[len(names)-1])
	}
	return used, dirError(path, err)
}

// lister looks at the entries of one directory.
type lister struct {
	path    string // with a slash at its end
	lstat   func(name string, a *attrs) error
	done    func()
	owners  *ownerNames
	mounted map[string]*pb.Entry // those that a look at may hang
}

func (g *Glancer) listerOf(ctx context.Context, d *os.File, path string, names []string) (*lister, error) {
	lstat, done, err := lstatIn(d)
	if err != nil {
		return nil, err
	}
	return &lister{
		path: strings.TrimRight(path, "/") + "/", lstat: lstat, done: done, owners: g.accounts.request(),
		mounted: g.mountedIn(ctx, path, names),
	}, nil
}

// fill puts entries into the reply until they don't fit.
func (l *lister) fill(ctx context.Context, names []string, room int, reply *pb.DirReply) (used int, err error) {
	reply.Entries = make([]*pb.Entry, 0, len(names))
	block := make([]pb.Entry, len(names)) // one allocation, not a thousand
	for i, name := range names {
		if i%256 == 0 && ctx.Err() != nil {
			return used, ctx.Err()
		}
		e := &block[i]
		if mounted := l.mounted[name]; mounted != nil {
			e = mounted
		} else if !l.look(e, name) {
			continue // it has vanished
		}
		l.name(e, name)
		size := entrySize(e)
		if used+size > room && len(reply.Entries) > 0 {
			reply.Next = dirNext(names[i-1])
			return used, nil
		}
		used += size
		reply.Entries = append(reply.Entries, e)
	}
	return used, nil
}

// name also gives the bytes of what isn't UTF-8.
func (l *lister) name(e *pb.Entry, name string) {
	if e.Name = valid(name); e.Name != name {
		e.NameBytes, e.PathBytes = []byte(name), []byte(l.path+name)
	}
}

// unknownMode of an entry of which nothing but the name is known.
const unknownMode = "?---------"

// look says false of an entry that is no longer there.
func (l *lister) look(e *pb.Entry, name string) bool {
	var a attrs
	if err := l.lstat(name, &a); err != nil {
		// A directory that can be read but not searched has names and no more.
		e.Mode = unknownMode
		return !errors.Is(err, fs.ErrNotExist)
	}
	e.IsDir = a.mode.IsDir()
	e.Size = a.size
	e.Time, e.Modified = a.time.Format(timeFormat), a.time.Format(time.RFC3339)
	e.User = l.owners.user(a.uid)
	e.Group = l.owners.group(a.gid)
	e.Mode = a.mode.String()
	return true
}

// valid makes a name one that protobuf and JSON can carry.
func valid(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// smallest gives the first n names after one, in order, and whether there are
// more. It holds 2n names at most.
func smallest(ctx context.Context, d *os.File, after string, n int) (names []string, more bool, err error) {
	var dots []string
	if after == "" {
		dots = append(dots, ".")
	}
	if after == "" || after == "." {
		dots = append(dots, "..")
	}
	bound := "" // no name from here on is needed; "" while all are
	isPastDots := after != "" && after != "." && after != ".."
	cut := func() {
		slices.Sort(names)
		if len(names) > n {
			names, more = names[:n], true
			bound = names[n-1]
		}
	}
	err = eachName(ctx, d, func(name []byte) {
		if isPastDots && string(name) <= after {
			return
		}
		if bound != "" && string(name) >= bound {
			more = true
			return
		}
		if names = append(names, string(name)); len(names) >= 2*n {
			cut()
		}
	})
	if err != nil {
		return nil, false, err
	}
	cut()
	all := append(dots, names...)
	if len(all) > n {
		all, more = all[:n], true
	}
	return all, more, nil
}

// isSilent says whether a mount was asked and didn't answer.
func isSilent(err error) bool {
	return errors.As(err, new(*helper.SilentError)) || errors.As(err, new(*mounts.HangingError))
}

func dirError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*codedError)):
		return err
	case isSilent(err):
		return fmt.Errorf("cannot list %s: %w", shown(path), err)
	case codeOf(err) != codeBadRequest:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot list %s: no such file or directory", shown(path))
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("invalid dir: %s is not a directory", shown(path))
	}
	return fmt.Errorf("cannot list %s: %w", shown(path), cause(err))
}

// cause takes the operation and the path off an error of package os.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

const maxShownBytes = 200

// shown keeps a path in an error short, so that what follows is seen too.
func shown(path string) string {
	if len(path) > maxShownBytes {
		return path[:maxShownBytes] + "…"
	}
	return path
}
