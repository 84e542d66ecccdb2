//go:build unix

package embedded_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/embedded"
)

// Who can write into the directory could have put a seed there that lets him in.
func TestDirectoryOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.Start(embedded.Config{DataDir: dir, InProcessOnly: true})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("got %v", err)
	}
}

func TestSeedOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := filepath.Join(t.TempDir(), "data")
	s, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "user.nk"), 12345, 0); err != nil {
		t.Fatal(err)
	}
	s, err = embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "12345") {
		t.Errorf("got %v", err)
	}
}
