package workdir

import (
	"errors"
	"fmt"
	"io/fs"
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
	err := Walk(dir, func(e Entry) error {
		files, bytes = files+1, bytes+e.Size
		switch {
		case files > maxOutFiles || bytes > maxOutBytes:
			return fmt.Errorf("it is more than %d files or %d MiB", maxOutFiles, maxOutBytes>>20)
		case !e.Mode.IsDir() && !e.Mode.IsRegular():
			return fmt.Errorf("%s is neither a file nor a folder", e.Name)
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
func ShareOut(dir string) error { return Share(dir, 0o755) }

// Share gives files below a folder these rights and folders 0755, whatever the
// umask was.
func Share(dir string, files fs.FileMode) error {
	return Walk(dir, func(e Entry) error {
		switch {
		case e.Mode.IsDir():
			return e.Chmod(0o755)
		case e.IsPlain():
			return e.Chmod(files)
		case e.Mode.IsRegular():
			return fmt.Errorf("%s has a second name, which may be another's", e.Name)
		}
		return nil
	})
}
