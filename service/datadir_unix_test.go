//go:build unix

package service_test

import (
	"os"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
)

func TestDataDirectoryOfOthers(t *testing.T) {
	f := newFleet(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s, err := service.Start(t.Context(), f.connect(), service.Config{Name: "web1", DataDir: dir})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "others may write to "+dir) {
		t.Errorf("got %v", err)
	}
}
