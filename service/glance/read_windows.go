package glance

import (
	"errors"
	"io"
	"os"
)

func newReader(f *os.File, start int64) (func(p []byte) (int, error), error) {
	if start > 0 {
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return func(p []byte) (int, error) {
		n, err := f.Read(p)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}, nil
}
