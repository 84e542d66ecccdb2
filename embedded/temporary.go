package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/lockfile"
)

// Temporary directories are named <prefix><random> and hold a lock file, so that a directory
// whose lock is free is known to be left over from a process that died.
const (
	temporaryPrefix = "runnel-nats-"
	sweepAge        = time.Minute
)

// openTemporaryDir makes a directory of this server's own, locked before
// anybody could take it for an abandoned one.
func (s *Server) openTemporaryDir() error {
	sweepTemporaryDirs(os.TempDir())
	dir, err := os.MkdirTemp("", temporaryPrefix) // mode 0700
	if err != nil {
		return fmt.Errorf("cannot make a temporary directory: %w", err)
	}
	lock, err := lockfile.Try(filepath.Join(dir, lockFileName))
	if err != nil {
		os.RemoveAll(dir)
		return fmt.Errorf("cannot use temporary directory %s: %w", dir, cause(err))
	}
	s.dir, s.lock = dir, lock
	return nil
}

// sweepTemporaryDirs removes what servers that were killed have left in dir. It
// is a courtesy: what it can't remove stays.
func sweepTemporaryDirs(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), temporaryPrefix) {
			sweep(filepath.Join(dir, entry.Name()))
		}
	}
}

func sweep(dir string) {
	// /tmp is everybody's: a directory of somebody else, or a link in the place
	// of one, is not to be touched. A young one may belong to a server that is
	// about to lock it.
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || !ownedByUs(info) || time.Since(info.ModTime()) < sweepAge {
		return
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFileName), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if lockfile.IsFree(file) {
		os.RemoveAll(dir)
	}
}
