//go:build unix

package glance

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// newReader reads without Go's poller: a file that has nothing to give now, as
// some of /proc, is at its end, and nobody waits for more.
func newReader(f *os.File, start int64) (func(p []byte) (int, error), error) {
	if start > 0 {
		_, err := f.Seek(start, io.SeekStart)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOVERFLOW) { // further than any file goes
			return func([]byte) (int, error) { return 0, nil }, nil
		}
		if err != nil {
			return nil, err
		}
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return func(p []byte) (n int, err error) {
		controlErr := conn.Control(func(fd uintptr) {
			for {
				n, err = unix.Read(int(fd), p)
				if !errors.Is(err, unix.EINTR) {
					break
				}
			}
		})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINVAL) && start > 0 {
			return 0, controlErr
		}
		return n, errors.Join(err, controlErr)
	}, nil
}
