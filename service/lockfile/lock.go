// Package lockfile locks a file for one process at a time. The operating system
// gives the lock up when the process ends, however it ends, so that no lock is
// ever stale.
package lockfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrLocked is returned when another process, or another part of this one,
// holds the lock.
var ErrLocked = errors.New("in use by another process")

// Lock is an exclusive lock on a file.
type Lock struct{ file *os.File }

const (
	tryPause = 10 * time.Millisecond
	// patience with a holder: Locked holds the lock for a moment.
	patience = 250 * time.Millisecond
	// dyingPatience with a holder that was killed: its memory goes first, its
	// locks last, and that may take seconds on a busy host.
	dyingPatience = 15 * time.Second
)

// Try locks the file at path, making it (mode 0600) if it is not there, and
// writes this process's id into it. The error is ErrLocked when somebody else
// holds it. It waits for a holder that is being killed.
func Try(path string) (*Lock, error) {
	began := time.Now()
	for {
		lock, err := tryOnce(path)
		if !errors.Is(err, ErrLocked) {
			return lock, err
		}
		if waited := time.Since(began); waited > dyingPatience || waited > patience && !dying(holder(path)) {
			return nil, err
		}
		time.Sleep(tryPause)
	}
}

func tryOnce(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		file.Close()
		return nil, err
	}
	// A full disk must not keep a runner from starting: the id is a hint.
	_ = file.Truncate(0)
	_, _ = fmt.Fprintln(file, os.Getpid())
	return &Lock{file}, nil
}

// holder is the process that the file at path names, 0 if none.
func holder(path string) int {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// Locked says whether somebody holds the lock on the file at path. A file that
// is not there is not locked.
func Locked(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	err = lockFile(file)
	if errors.Is(err, ErrLocked) {
		return true, nil
	}
	return false, err
}

// IsFree locks an open file and says whether nobody else held it. Closing the
// file unlocks it.
func IsFree(file *os.File) bool { return lockFile(file) == nil }

// Path of the file.
func (l *Lock) Path() string { return l.file.Name() }

// Unlock gives the lock up. The file stays: removing it would let two
// processes each lock a file of that name.
func (l *Lock) Unlock() error { return l.file.Close() }
