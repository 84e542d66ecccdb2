package embedded

import (
	"errors"
	"os"
	"time"
)

// Lock is an exclusive lock on a file. The operating system gives it up when
// the process ends, however it ends, so that no lock is ever stale.
type Lock struct{ file *os.File }

const (
	lockTries = 25
	lockPause = 10 * time.Millisecond
)

// TryLock locks the file at path, making it (mode 0600) if it is not there.
// The error is ErrLocked when somebody else holds it. It tries for a quarter
// of a second: Locked holds the lock for a moment, and so does a process that
// is being killed.
func TryLock(path string) (*Lock, error) {
	for try := 1; ; try++ {
		lock, err := tryLockOnce(path)
		if !errors.Is(err, ErrLocked) || try == lockTries {
			return lock, err
		}
		time.Sleep(lockPause)
	}
}

func tryLockOnce(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		file.Close()
		return nil, err
	}
	return &Lock{file}, nil
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

// Unlock gives the lock up. The file stays: removing it would let two
// processes each lock a file of that name.
func (l *Lock) Unlock() error { return l.file.Close() }
