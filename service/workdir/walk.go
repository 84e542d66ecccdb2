//go:build unix

package workdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Entry is a file or folder that a run has left.
type Entry struct {
	// Name is the path from the folder that is walked.
	Name  string
	Mode  fs.FileMode
	Size  int64
	Links int64 // names of a file

	at int
}

// IsPlain says that it is a folder, or a file without a second name, which could
// be somebody's that is not the run's.
func (e Entry) IsPlain() bool { return e.Mode.IsDir() || e.Mode.IsRegular() && e.Links == 1 }

// Chmod changes the entry's rights, if it is plain.
func (e Entry) Chmod(mode fs.FileMode) error {
	if err := chmodAt(e.at, path.Base(e.Name), uint32(mode.Perm())); err != nil {
		return fmt.Errorf("chmod %s: %w", e.Name, err)
	}
	return nil
}

// CopyTo copies what is in a file, as many bytes as it has in Size.
func (e Entry) CopyTo(w io.Writer) error {
	fd, err := unix.Openat(e.at, path.Base(e.Name), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", e.Name, err)
	}
	file := os.NewFile(uintptr(fd), e.Name)
	defer file.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Nlink > 1 {
		return errors.Join(err, fmt.Errorf("%s is no file of the run's own", e.Name))
	}
	_, err = io.CopyN(w, file, e.Size)
	return err
}

// maxWalkDepth bounds the descriptors of a walk.
const maxWalkDepth = 100

// Walk visits all that is below a folder, each folder before what is in it,
// without following a link and without leaving the file system.
func Walk(dir string, visit func(Entry) error) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	return walk(fd, "", 0, visit)
}

// walk closes the descriptor.
func walk(fd int, below string, depth int, visit func(Entry) error) error {
	dir := os.NewFile(uintptr(fd), below)
	defer dir.Close()
	if depth > maxWalkDepth {
		return fmt.Errorf("%s: more than %d folders, one in the other", below, maxWalkDepth)
	}
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if err := visitOne(fd, path.Join(below, name), depth, visit); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func visitOne(at int, name string, depth int, visit func(Entry) error) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(at, path.Base(name), &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat %s: %w", name, err)
	}
	e := Entry{Name: name, Mode: fs.FileMode(stat.Mode & 0o777), Size: stat.Size, Links: int64(stat.Nlink), at: at}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Mode |= fs.ModeDir
	case unix.S_IFREG:
	default:
		e.Mode |= fs.ModeIrregular
	}
	if err := visit(e); err != nil || !e.Mode.IsDir() {
		return err
	}
	fd, err := openAnyway(at, path.Base(name))
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	return walk(fd, name, depth+1, visit)
}
