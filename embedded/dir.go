package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/lockfile"
)

// openDir makes and locks the directory that everything is in.
func (s *Server) openDir() error {
	if s.cfg.Memory {
		return s.openTemporaryDir()
	}
	dir, err := filepath.Abs(s.cfg.DataDir) // a later chdir must not move it
	if err != nil {
		return fmt.Errorf("cannot use data directory %s: %w", s.cfg.DataDir, err)
	}
	s.dir = dir
	if err := os.MkdirAll(filepath.Join(dir, storeDirName), 0o700); err != nil {
		return fmt.Errorf("cannot use data directory %s: %w", dir, cause(err))
	}
	if err := files.CheckOwn(filepath.Join(dir, storeDirName)); err != nil {
		return fmt.Errorf("cannot use data directory %s: %w", dir, err)
	}
	lock, err := lockfile.Try(filepath.Join(dir, storeDirName, lockFileName))
	if err != nil {
		return fmt.Errorf("cannot use data directory %s: %w", dir, cause(err))
	}
	s.lock = lock
	return nil
}

// closeDir gives up the directory, and removes it if it was temporary.
func (s *Server) closeDir() error {
	var err error
	if s.cfg.Memory {
		err = os.RemoveAll(s.dir)
	}
	return errors.Join(err, s.lock.Unlock())
}

// cause strips the operation and the path from an error that is reported with
// a path of its own.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// loadUser reads the seed, or makes it the first time, and makes the user
// that the server lets in.
func (s *Server) loadUser() error {
	s.seedFile = filepath.Join(s.dir, seedFileName)
	seed, err := readSeed(s.seedFile)
	if errors.Is(err, fs.ErrNotExist) {
		seed, err = writeNewSeed(s.seedFile)
	}
	if err != nil {
		return fmt.Errorf("cannot use the client seed in %s: %w", s.seedFile, cause(err))
	}
	s.seed = seed
	key, err := nkeys.FromSeed(seed)
	if err != nil {
		return fmt.Errorf("cannot use the client seed in %s: %w", s.seedFile, err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return fmt.Errorf("cannot use the client seed in %s: %w", s.seedFile, err)
	}
	if !nkeys.IsValidPublicUserKey(public) {
		return fmt.Errorf("cannot use the client seed in %s: it is not one of a user", s.seedFile)
	}
	s.user = &natsserver.NkeyUser{Nkey: public}
	return nil
}

func readSeed(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := files.CheckOwn(path); err != nil {
		return nil, err
	}
	// Whoever copied the file may have opened it to others; a seed is a password.
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	key, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, err
	}
	return key.Seed()
}

// writeNewSeed makes a seed and stores it whole or not at all: half a seed
// would lock everybody out.
func writeNewSeed(path string) ([]byte, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	seed, err := key.Seed()
	if err != nil {
		return nil, err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), seedFileName+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(append([]byte(nil), seed...), '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err != nil {
		return nil, err
	}
	return seed, os.Rename(temp.Name(), path)
}
