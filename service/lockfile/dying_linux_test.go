package lockfile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// held leaves a lock at path to a process that ends after some seconds, and names
// another one as its holder.
func held(t *testing.T, path string, pid int, seconds string) {
	t.Helper()
	lock, err := tryOnce(path)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", seconds)
	child.ExtraFiles = []*os.File{lock.file}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	if err := os.WriteFile(path, fmt.Appendln(nil, pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil { // the child has it still
		t.Fatal(err)
	}
}

// A process that was killed gives its locks up last: the next one waits for it.
func TestWaitsForAHolderThatIsDying(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "lock")
	held(t, path, gone.Process.Pid, "1")
	lock, err := Try(path)
	if err != nil {
		t.Fatalf("its holder has ended: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestDoesNotWaitForAHolderThatLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held(t, path, os.Getpid(), "1000")
	began := time.Now()
	if _, err := Try(path); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if took := time.Since(began); took > dyingPatience/2 {
		t.Errorf("it took %s to say so", took)
	}
}

func TestAZombieIsDying(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if dying(child.Process.Pid) {
		t.Error("a process that sleeps is dying")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !dying(child.Process.Pid); {
		if time.Now().After(deadline) {
			t.Fatal("a zombie is not dying")
		}
		time.Sleep(time.Millisecond) // polls a condition
	}
	_ = child.Wait()
	if !dying(child.Process.Pid) {
		t.Error("a process that is gone is not dying")
	}
}
