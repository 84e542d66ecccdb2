//go:build unix

package workdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one removal. An account may go on making files, and folders in
// folders, while they are removed.
const (
	removeTime  = 5 * time.Second
	maxDepth    = 32 // folders below are moved up, so that descriptors are bounded
	removeTries = 10 // without a pause between them
)

// ErrBusy says that a removal ran out of its time.
var ErrBusy = errors.New("it is too big, or is still being changed")

// Remove removes what is called name in a directory, without following a link
// and without leaving its file system.
func Remove(parent, name string) error {
	above, err := unix.Open(parent, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		r := &remover{deadline: time.Now().Add(removeTime), above: above}
		err = errors.Join(r.tree(name), unix.Close(above))
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", filepath.Join(parent, name), err)
	}
	return nil
}

// Empty removes what is in a folder.
func Empty(dir string) error { return Sweep(dir, "") }

// Sweep removes everything in a directory whose name begins with prefix.
func Sweep(parent, prefix string) error {
	dir, err := os.Open(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			err = errors.Join(err, Remove(parent, name))
		}
	}
	return err
}

type remover struct {
	deadline time.Time
	above    int // the directory that the tree is in
	top      int // the tree's own, or -1
	moved    int
}

// tree removes the whole: again as long as somebody puts something into it.
func (r *remover) tree(name string) (err error) {
	r.top = -1
	for try := 1; ; try++ {
		if err = r.entry(r.above, name, 0); err == nil || !isFull(err) {
			return err
		}
		if try > removeTries {
			time.Sleep(time.Millisecond)
		}
	}
}

// isFull: something was put there meanwhile.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)
}

// entry removes a file, a link, or a folder with all that is in it.
func (r *remover) entry(at int, name string, depth int) error {
	if time.Now().After(r.deadline) {
		return ErrBusy
	}
	err := unix.Unlinkat(at, name, 0)
	isFolder := errors.Is(err, unix.EISDIR)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EBUSY):
		return detach(at, name)
	case isFolder, errors.Is(err, unix.EPERM): // Linux says the one of a folder, others the other
	default:
		return err
	}
	if depth >= maxDepth {
		r.moved++
		return unix.Renameat(at, name, r.top, "deep-"+strconv.Itoa(r.moved))
	}
	fd, openErr := openShut(at, name)
	switch {
	case openErr == nil:
	case errors.Is(openErr, unix.EXDEV):
		return detach(at, name)
	case errors.Is(openErr, unix.ENOENT):
		return nil
	case isFolder && (errors.Is(openErr, unix.ENOTDIR) || errors.Is(openErr, unix.ELOOP)):
		return unix.ENOTEMPTY // it is another thing by now: look again
	case !isFolder:
		return err
	default:
		return openErr
	}
	if depth == 0 {
		r.top = fd
	}
	err = r.empty(fd, depth+1)
	if gone := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); gone == nil || errors.Is(gone, unix.ENOENT) {
		return nil
	} else if err == nil {
		err = gone
	}
	return err
}

// openAnyway opens a folder, also one that its owner has shut.
func openAnyway(at int, name string) (fd int, err error) {
	fd, err = openFolder(at, name)
	if errors.Is(err, unix.EACCES) {
		if err = chmodAt(at, name, 0o700); err == nil {
			fd, err = openFolder(at, name)
		}
	}
	return fd, err
}

// openShut opens a folder that is to be removed, and shuts it for others.
func openShut(at int, name string) (fd int, err error) {
	if fd, err = openAnyway(at, name); err == nil {
		_ = unix.Fchmod(fd, 0o700) // refused where it is another's: then root removes, or nobody
	}
	return fd, err
}

// empty removes what is in an open folder, and closes it.
func (r *remover) empty(fd int, depth int) error {
	dir := os.NewFile(uintptr(fd), "folder")
	defer dir.Close()
	var failed error
	for {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			if err := r.entry(fd, name, depth); err != nil && failed == nil {
				failed = err
			}
			if errors.Is(failed, ErrBusy) {
				return failed
			}
		}
		if len(names) == 0 || err != nil {
			return failed
		}
	}
}
