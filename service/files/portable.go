package files

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// openPortably is for systems without openat2. os.Root keeps the path beneath
// the root; that nothing was swapped in between is seen by comparing.
func openPortably(root, path string, isDir bool) (*os.File, error) {
	lstat, open := os.Lstat, func(name string, flag int) (*os.File, error) { return os.OpenFile(name, flag, 0) }
	if root != "/" {
		r, err := os.OpenRoot(root)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		lstat, open = r.Lstat, func(name string, flag int) (*os.File, error) { return r.OpenFile(name, flag, 0) }
		if trimmed := strings.TrimRight(path, "/"); trimmed != "" {
			path = trimmed
		}
	}
	before, err := lstat(path)
	if err != nil {
		return nil, err
	}
	if err := checkKind(before.Mode(), isDir); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file, err := open(path, os.O_RDONLY|oNofollow|syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	after, err := file.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("was replaced while it was opened")}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func checkKind(mode fs.FileMode, isDir bool) error {
	switch {
	case isDir && !mode.IsDir():
		return syscall.ENOTDIR
	case isDir || mode.IsRegular():
		return nil
	case mode&fs.ModeSymlink != 0:
		return syscall.ELOOP
	case mode.IsDir():
		return syscall.EISDIR
	}
	return ErrNotRegular
}
