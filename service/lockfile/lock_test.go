package lockfile

import (
	"path/filepath"
	"testing"
)

func TestLockedTellsWithoutTaking(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	locked := func() bool {
		is, err := Locked(path)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if locked() {
		t.Error("a file that is not there is locked")
	}
	lock, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if !locked() {
		t.Error("a lock that is held is not seen")
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if locked() {
		t.Error("a lock that was given up is seen")
	}
}
