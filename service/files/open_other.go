//go:build !linux

package files

import (
	"errors"
	"os"
	"path/filepath"
)

type resolver struct{}

func newResolver() resolver { return resolver{} }

func (resolver) open(root, path string, isDir bool) (*os.File, error) {
	return openPortably(root, path, isDir)
}

// location is where an open file is.
type location struct {
	real   string
	info   os.FileInfo
	isProc bool
}

// locate follows the path again, because there is no asking the kernel, and
// makes sure that it leads to the file that is open.
func locate(file *os.File, path string) (*location, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	again, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, again) {
		return nil, errors.New("it was replaced while it was opened")
	}
	return &location{real: real, info: info}, nil
}

func unopened(real string, info os.FileInfo) *location { return &location{real: real, info: info} }

func (at *location) names() []string { return []string{at.real} }

func (at *location) isInOtherMount(string) bool { return false }

// isElsewhere: which mounts may hang is not known here.
func (at *location) isElsewhere(string) bool { return false }
