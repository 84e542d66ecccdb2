package presence

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/lockfile"
)

// DataDir is where a runner keeps what must outlive it: its instance id and the
// spools. One runner at a time has it, by a lock that ends with the process.
type DataDir struct {
	Path     string
	Instance string
	// Place is where the directory is, Origin where it was when a runner last
	// used it: they differ in a copy.
	Place, Origin Place

	isNew     bool // nothing has used it
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
	if err := files.CheckOwn(d.Path); err != nil {
		return err
	}
	d.lock, err = lockfile.Try(d.file("runner.lock"))
	if errors.Is(err, lockfile.ErrLocked) {
		return errLocked
	}
	if err != nil {
		return err
	}
	if err := d.readInstance(); err != nil {
		return err
	}
	d.Place = Place{Machine: digest(machineID()), Boot: digest(bootID()), Data: deviceAndInode(d.Path)}
	d.Origin, err = readOrigin(d.file("origin"))
	return err
}

func (d *DataDir) file(name string) string { return filepath.Join(d.Path, name) }

// digest of an id that is to be confidential, as a machine's is.
func digest(id string) string {
	if id == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte("runnel"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// newInstance gives the directory another id.
func (d *DataDir) newInstance() (err error) {
	d.Instance, err = writeInstance(d.file("instance"))
	return err
}

// used takes note of where the directory is.
func (d *DataDir) used() error {
	if d.Origin == d.Place {
		return nil
	}
	b, err := json.Marshal(d.Place)
	if err != nil {
		return err
	}
	if err := replaceFile(d.file("origin"), b); err != nil {
		return err
	}
	d.Origin = d.Place
	return nil
}

// readOrigin: a file that can't be understood says nothing.
func readOrigin(path string) (origin Place, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return origin, nil
	}
	if json.Unmarshal(b, &origin) != nil {
		origin = Place{}
	}
	return origin, err
}

// readInstance reads the id of this data directory, made when there is none: it
// tells two hosts of one name apart.
func (d *DataDir) readInstance() error {
	b, err := os.ReadFile(d.file("instance"))
	if d.Instance = strings.TrimSpace(string(b)); err == nil && d.Instance != "" {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d.isNew = true
	return d.newInstance()
}

func writeInstance(path string) (string, error) {
	id := rand.Text()
	return id, replaceFile(path, []byte(id))
}

// replaceFile writes a line into a file, whole or not at all.
func replaceFile(path string, line []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, append(line, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
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
