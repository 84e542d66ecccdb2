//go:build unix

package commands

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/runnel-io/runnel/tests/rig"
)

// A file that is read again and never ends, as one on a mount that hangs, keeps
// serve from nothing: signals are heard, and the end comes.
func TestServeEndsBesideAFileThatHangs(t *testing.T) {
	for name, flags := range map[string]func(file string) []string{
		"configuration": func(file string) []string { return []string{"--config", file} },
		"environment":   func(file string) []string { return []string{"--path", filepath.Dir(file), "--env-file", file} },
	} {
		t.Run(name, func(t *testing.T) {
			newHome(t)
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd, _, _ := servedWithLog(t, flags(file)...)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			rig.Eventually(t, "the file is read", func() bool {
				writer, err := os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0) // opens once there is a reader
				if err == nil {
					t.Cleanup(func() { writer.Close() })
				}
				return err == nil
			})
			endsWell(t, cmd)
		})
	}
}
