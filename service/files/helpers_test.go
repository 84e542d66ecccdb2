package files_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/files"
)

// reads opens a file, and gives what is in it.
func reads(f *files.Files, path string) (string, error) {
	file, err := f.OpenFile(path)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(file)
	return string(b), errors.Join(err, file.Close())
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mustLink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func wantRule(t *testing.T, err error, rule string) {
	t.Helper()
	r, ok := errors.AsType[*files.Refusal](err)
	if !ok || r.Rule != rule || r.Code() != 403 || !strings.Contains(r.Error(), rule) {
		t.Errorf("got %v, want a refusal by %s", err, rule)
	}
}
