package presence

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/runnel-io/runnel/service/lockfile"
)

// DataDir is where a runner keeps what must outlive it: its instance id and the
// spools. One runner at a time has it, by a lock that ends with the process.
type DataDir struct {
	Path      string
	Instance  string
	lock      *lockfile.Lock
	temporary bool
}

var errLocked = errors.New("another runner has it")

// OpenDataDir opens and locks the directory at path; with an empty path, a
// temporary one.
func OpenDataDir(path string) (*DataDir, error) {
	d := &DataDir{Path: path}
	if path == "" {
		dir, err := os.MkdirTemp("", "runnel-data-")
		if err != nil {
			return nil, fmt.Errorf("cannot make a data directory: %w", err)
		}
		d.Path, d.temporary = dir, true
	}
	if err := d.open(); err != nil {
		d.Close()
		return nil, fmt.Errorf("cannot use data directory %s: %w", d.Path, err)
	}
	return d, nil
}

func (d *DataDir) open() (err error) {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return err
	}
	d.lock, err = lockfile.Try(filepath.Join(d.Path, "runner.lock"))
	if errors.Is(err, lockfile.ErrLocked) {
		return errLocked
	}
	if err != nil {
		return err
	}
	d.Instance, err = readInstance(filepath.Join(d.Path, "instance"))
	return err
}

// readInstance returns the id of this data directory, made when there is none:
// it tells two hosts of one name apart.
func readInstance(path string) (string, error) {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id := rand.Text()
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(id+"\n"), 0o600); err != nil {
		return "", err
	}
	return id, os.Rename(temp, path)
}

// Close gives the directory back; one that was temporary is gone then.
func (d *DataDir) Close() {
	if d.lock != nil {
		_ = d.lock.Unlock() // and with it the lock
	}
	if d.temporary {
		_ = os.RemoveAll(d.Path)
	}
}
