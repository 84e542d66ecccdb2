package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/runnel-io/runnel/embedded"
)

// dataDir is a runner's data directory. It is one runner's at a time: the lock
// is the proof, and it goes with the process.
//
//	serve.lock   held while a runner serves
//	user.nk      the seed of the embedded NATS server's user
//	nats/        the embedded NATS server's store
//	…            and what package service keeps: its instance id, spools
type dataDir struct {
	path string
	lock *embedded.Lock
}

// openDataDir makes and locks a data directory.
func openDataDir(path string) (*dataDir, error) {
	abs, err := filepath.Abs(path) // a later chdir must not move it
	if err != nil {
		return nil, fmt.Errorf("cannot use data directory %s: %w", path, err)
	}
	path = abs
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("cannot use data directory %s: %w", path, cause(err))
	}
	d := &dataDir{path: path}
	d.lock, err = embedded.TryLock(d.lockPath())
	if errors.Is(err, embedded.ErrLocked) {
		return nil, fmt.Errorf("cannot use data directory %s: another runnel serve uses it; give this one its own with --data", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use data directory %s: %w", path, cause(err))
	}
	return d, nil
}

func (d *dataDir) lockPath() string { return filepath.Join(d.path, "serve.lock") }

// Close gives the directory up.
func (d *dataDir) Close() error { return d.lock.Unlock() }

// cause strips the operation and the path from an error that is reported with
// a path of its own.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
