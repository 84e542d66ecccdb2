package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// roomBytes is how much a store needs for another start.
	roomBytes = 1 << 20
	// roomLook is how often a full disk is looked at.
	roomLook = 500 * time.Millisecond
	// storeLook is how often it is looked whether JetStream is still there.
	storeLook = 2 * time.Second
)

// errStore is a write error that is no full disk.
var errStore = errors.New("the store can't be written to")

// storeTrouble reads from a line of the server's log that a store can't be
// written to any more: such an error is kept until the server is started anew.
func storeTrouble(line string) error {
	switch line = strings.ToLower(line); {
	case strings.Contains(line, "no space left"), strings.Contains(line, "out of space"), strings.Contains(line, "jetstream out of"):
		return syscall.ENOSPC
	case strings.Contains(line, "quota exceeded"):
		return errQuota
	case strings.Contains(line, "critical write error"):
		return errStore
	}
	return nil
}

// Trouble says why the store can't be written to, nil if it can.
func (s *Server) Trouble() error { return s.log.storeTrouble() }

// watch revives the server once its disk has room again. nats-server itself
// keeps a write error for good.
func (s *Server) watch(ctx context.Context) {
	look := time.NewTicker(storeLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.log.wake:
		case <-look.C:
			if s.srv.Load().JetStreamEnabled() {
				continue
			}
			s.log.isTrouble("JetStream out of resources")
		}
		s.log.log.Error("cannot write to the store; the server starts anew once it can", "dir", s.dir, "error", s.Trouble())
		began := time.Now()
		if !s.revive(ctx) {
			return
		}
		s.log.log.Info("the store can be written to again", "dir", s.dir, "after", time.Since(began).Round(time.Millisecond))
	}
}

// revive waits until there is room and starts the server anew: same port, same
// store. It says false when ctx ends before.
func (s *Server) revive(ctx context.Context) bool {
	tick := time.NewTicker(roomLook)
	defer tick.Stop()
	running := true
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if s.hasRoom() != nil {
			continue
		}
		if running {
			s.shutdown()
			running = false
		}
		if err := s.serve(); err != nil {
			s.log.log.Debug("cannot start the server anew yet", "error", err)
			continue
		}
		s.log.forgetTrouble()
		return true
	}
}

// hasRoom tries to write what a store needs at least: bytes, and a file.
func (s *Server) hasRoom() error {
	path := filepath.Join(s.dir, storeDirName, "room")
	defer os.Remove(path)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, roomBytes))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
