//go:build unix

package workdir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is the directory of one run. It is used by one goroutine.
type Dir struct {
	parent, name string // where it is; the runner's for good
	inner        string // the folder in it that the run gets; empty: the whole is the run's
	owner        *Owner
	fd           int // of what the run gets, until Give
}

// Owner is the account that a directory is made for.
type Owner struct{ UID, GID int }

// innerName is the folder that is given to another account.
const innerName = "run"

// New makes a directory below parent, whose name begins with prefix. With an
// owner, a folder in it is for that account, once it is given.
func New(parent, prefix string, owner *Owner) (d *Dir, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot make the run's directory: %w", err)
		}
	}()
	if parent, err = filepath.Abs(parent); err != nil {
		return nil, err
	}
	if parent, err = filepath.EvalSymlinks(parent); err != nil {
		return nil, err
	}
	above, err := openParent(parent)
	if err != nil {
		return nil, err
	}
	defer unix.Close(above)
	d = &Dir{parent: parent, name: prefix + rand.Text(), owner: owner}
	if d.fd, err = makeFolder(above, d.name, 0o700); err != nil {
		return nil, err
	}
	if owner == nil {
		return d, nil
	}
	top := d.fd
	defer unix.Close(top)
	d.inner = innerName
	if d.fd, err = makeFolder(top, innerName, 0o700); err == nil {
		err = unix.Fchmod(top, 0o711)
	}
	if err != nil {
		d.fd = -1
		return nil, errors.Join(err, d.Remove())
	}
	return d, nil
}

// Path is that of the directory that the run gets.
func (d *Dir) Path() string { return filepath.Join(d.parent, d.name, d.inner) }

// Folder makes one in it and returns its path.
func (d *Dir) Folder(name string, mode fs.FileMode) (string, error) {
	fd, err := makeFolder(d.fd, name, mode)
	if err == nil {
		err = errors.Join(d.own(fd), unix.Close(fd))
	}
	if err != nil {
		return "", fmt.Errorf("cannot make the run's directory: %w", err)
	}
	return filepath.Join(d.Path(), name), nil
}

// own makes what was made the owner's. Nobody gets to it before Give.
func (d *Dir) own(fd int) error {
	if d.owner == nil {
		return nil
	}
	return unix.Fchown(fd, d.owner.UID, d.owner.GID)
}

// Text is what a file is filled from.
type Text func(io.Writer) error

// Bytes is a Text that is there already.
func Bytes(b []byte) Text {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// Script makes a file that the run executes, and returns its path.
func (d *Dir) Script(name string, text Text) (string, error) {
	err := d.write(name, 0o700, true, text)
	return filepath.Join(d.Path(), name), err
}

// Source makes a file that everybody who gets to it may read. Its name is a
// relative path; the folders in it are made where they are missing.
func (d *Dir) Source(name string, text Text) error { return d.write(name, 0o644, false, text) }

func (d *Dir) write(name string, mode fs.FileMode, owned bool, text Text) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("cannot write %q: it is not inside the run's directory", name)
	}
	at, err := d.enter(path.Dir(name))
	if err != nil {
		return err
	}
	if at != d.fd {
		defer unix.Close(at)
	}
	base := path.Base(name)
	fd, err := unix.Openat(at, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode))
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	err = text(file)
	if err == nil {
		err = unix.Fchmod(fd, uint32(mode)) // whatever the umask
	}
	if err == nil && owned {
		err = d.own(fd)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if mode&0o100 != 0 {
		awaitWriters(at, base)
	}
	return nil
}

// enter opens the folders of a relative path, one below the other, and makes
// those that are missing.
func (d *Dir) enter(name string) (fd int, err error) {
	fd = d.fd
	for _, part := range strings.Split(path.Clean(name), "/") {
		if part == "." {
			continue
		}
		next, err := openFolder(fd, part)
		if errors.Is(err, unix.ENOENT) {
			next, err = makeFolder(fd, part, 0o755)
		}
		if fd != d.fd {
			unix.Close(fd)
		}
		if err != nil {
			return -1, fmt.Errorf("cannot make folder %s: %w", name, err)
		}
		fd = next
	}
	return fd, nil
}

// Give gives the directory to its owner. From here on nothing can be written
// to it.
func (d *Dir) Give() error {
	if d.fd < 0 {
		return nil
	}
	err := errors.Join(d.own(d.fd), unix.Close(d.fd))
	d.fd = -1
	if err != nil {
		return fmt.Errorf("cannot give the run's directory to its account: %w", err)
	}
	return nil
}

// Remove removes the directory, whatever is in it by now. An error says that
// something is left: that can be tried again.
func (d *Dir) Remove() error {
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
	return Remove(d.parent, d.name)
}

// makeFolder makes and opens one that was not there.
func makeFolder(at int, name string, mode fs.FileMode) (fd int, err error) {
	if err := unix.Mkdirat(at, name, 0o700); err != nil {
		return -1, fmt.Errorf("mkdir %s: %w", name, err)
	}
	if fd, err = openFolder(at, name); err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	if err := unix.Fchmod(fd, uint32(mode)); err != nil { // whatever the umask
		unix.Close(fd)
		return -1, fmt.Errorf("chmod %s: %w", name, err)
	}
	return fd, nil
}
