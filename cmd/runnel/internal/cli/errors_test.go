package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReports(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		said string
		code int
	}{
		"no error":             {nil, "", 0},
		"an error":             {errors.New("cannot x: y"), "runnel: cannot x: y\n", 125},
		"a code alone":         {&ExitError{Code: 3}, "", 3},
		"a code and words":     {&ExitError{Code: 124, Message: "timed out"}, "runnel: timed out\n", 124},
		"a code within":        {fmt.Errorf("wrapped: %w", &ExitError{Code: 7}), "", 7},
		"of several":           {errors.Join(errors.New("other"), &ExitError{Code: 9, Message: "nine"}), "runnel: nine\n", 9},
		"hurried":              {&ExitError{Code: 130, Message: "left", Hurried: true}, "runnel: left\n", 130},
		"no one reads":         {&fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}, "runnel: cannot print: no space left on device\n", 125},
		"another file's write": {&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, "runnel: write /x: no space left on device\n", 125},
	} {
		var out bytes.Buffer
		if code := Report(c.err, &out); code != c.code || out.String() != c.said {
			t.Errorf("%s: got %d, %q, want %d, %q", name, code, out.String(), c.code, c.said)
		}
	}
}

// A hurried end does not wait for a reader that takes nothing.
func TestHurriedReportEnds(t *testing.T) {
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	done := make(chan int)
	go func() { done <- Report(&ExitError{Code: 130, Message: "left", Hurried: true}, w) }()
	select {
	case code := <-done:
		if code != 130 {
			t.Errorf("got %d, want 130", code)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for ever")
	}
}

func TestExitErrorsInWords(t *testing.T) {
	if got := (&ExitError{Code: 3}).Error(); got != "exit 3" {
		t.Errorf("got %q", got)
	}
	if got := (&ExitError{Code: 3, Message: "why"}).Error(); got != "why" {
		t.Errorf("got %q", got)
	}
}

// An error that is reported with a path of its own doesn't say it twice.
func TestCausesWithoutTheirPath(t *testing.T) {
	_, err := os.Open(filepath.Join(t.TempDir(), "nosuch"))
	if got := Cause(err).Error(); strings.Contains(got, "nosuch") || !errors.Is(Cause(err), fs.ErrNotExist) {
		t.Errorf("got %q", got)
	}
	other := errors.New("other")
	if got := Cause(other); got != other {
		t.Errorf("got %v, want %v", got, other)
	}
}
