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
	limit := q.GetLimit()
	if limit < 0 {
		return 0, fmt.Errorf("invalid limit: dir.limit is %d and must not be negative", limit)
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
	d, err := g.cfg.OpenDir(q.GetPath())
	if err != nil {
		return 0, dirError(q.GetPath(), err)
	}
	defer d.Close()
	names, more, err := smallest(ctx, d, after, int(limit))
	if err != nil {
		return 0, dirError(q.GetPath(), err)
	}
	reply.Entries = make([]*pb.Entry, 0, len(names))
	block := make([]pb.Entry, len(names)) // one allocation, not a thousand
	lstat, done, err := lstatIn(d)
	if err != nil {
		return 0, dirError(q.GetPath(), err)
	}
	defer done()
	owners := g.accounts.request()
	for i, name := range names {
		if i%256 == 0 && ctx.Err() != nil {
			return 0, dirError(q.GetPath(), ctx.Err())
		}
		e := &block[i]
		if !fill(e, name, lstat, owners) {
			continue // it has vanished
		}
		size := entrySize(e)
		if used+size > room && len(reply.Entries) > 0 {
			reply.Next = dirNext(names[i-1])
			return used, nil
		}
		used += size
		reply.Entries = append(reply.Entries, e)
	}
	if more {
		reply.Next = dirNext(names[len(names)-1])
	}
	return used, nil
}

// fill says false of an entry that is no longer there.
func fill(e *pb.Entry, name string, lstat func(string, *attrs) error, owners *ownerNames) bool {
	e.Name = valid(name)
	var a attrs
	if err := lstat(name, &a); err != nil {
		// A directory that can be read but not searched has names and no more.
		e.Mode = "?---------"
		return !errors.Is(err, fs.ErrNotExist)
	}
	e.IsDir = a.mode.IsDir()
	e.Size = a.size
	e.Time = a.time.Format(timeFormat)
	e.User = owners.user(a.uid)
	e.Group = owners.group(a.gid)
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

func dirError(path string, err error) error {
	switch {
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
