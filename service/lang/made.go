package lang

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxOutBytes and maxOutFiles bound what a compile step may leave.
const (
	maxOutBytes = 512 << 20
	maxOutFiles = 10_000
)

// CheckOut looks at what a compile step has made, when no process of it is left:
// files and folders, not too many and not too big. A link or a device is nothing
// that a compiler makes.
func CheckOut(dir string) error {
	files, bytes := 0, int64(0)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		switch {
		case files > maxOutFiles || bytes > maxOutBytes:
			return fmt.Errorf("it is more than %d files or %d MiB", maxOutFiles, maxOutBytes>>20)
		case !entry.IsDir() && !info.Mode().IsRegular():
			name, _ := filepath.Rel(dir, path)
			return fmt.Errorf("%s is neither a file nor a folder", name)
		}
		return nil
	})
	if err == nil && files == 0 {
		return ErrNothingMade
	}
	if err != nil {
		return fmt.Errorf("cannot use what the compiler made: %w", err)
	}
	return nil
}

// ErrNothingMade: the compiler was content, and there is no program.
var ErrNothingMade = errors.New("the compiler has made nothing of it")

// ShareOut makes it readable for the account of the run step, which is another
// one where accounts are lent.
func ShareOut(dir string) error { return shareInside(dir, 0o755) }

// shareInside gives files these rights and folders 0755, whatever the umask was.
func shareInside(dir string, files fs.FileMode) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == dir:
			return err
		case entry.IsDir():
			return os.Chmod(path, 0o755)
		case entry.Type().IsRegular():
			return os.Chmod(path, files)
		}
		return nil
	})
}

// removeInside empties a directory.
func removeInside(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := RemoveTree(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// RemoveTree removes what a run has left, also folders that it has shut. No
// process of the run may be there any more.
func RemoveTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
