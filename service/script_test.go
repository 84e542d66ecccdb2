package service_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
)

// gzipped is a whole stream.
func gzipped(script string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(script))
	_ = z.Close()
	return b.Bytes()
}

// flushed is a stream that was flushed and never closed.
func flushed(script string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(script))
	_ = z.Flush()
	return b.Bytes()
}

// damaged has a wrong checksum.
func damaged(script string) []byte {
	b := gzipped(script)
	b[len(b)-8] ^= 1
	return b
}

func fileTask(content []byte, zip bool) string {
	return fmt.Sprintf(`{"file":{"content":%q,"gzip":%v}}`, base64.StdEncoding.EncodeToString(content), zip)
}

func TestScript(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	// Streams one after the other are one: 65 MiB of zeroes.
	bomb := append(gzipped("#!/bin/bash\n"), bytes.Repeat(gzipped(strings.Repeat("\x00", 1<<20)), 65)...)
	long := "#!/bin/bash\n" + strings.Repeat("# a long comment\n", 20000) + "echo long\n"
	for _, c := range []struct {
		name, want string
		task       string
		exit       int
	}{
		{"plain", "hi\n", fileTask([]byte("#!/bin/bash\necho hi\n"), false), 0},
		{"env", "hi\n", fileTask([]byte("#!/usr/bin/env bash\necho hi"), false), 0},
		{"a flag", "", fileTask([]byte("#!/bin/bash -e\nfalse\necho hi"), false), 1},
		{"two flags", "", fileTask([]byte("#!/bin/bash -e -u\necho $nope"), false), 1},
		{"env with a flag", "", fileTask([]byte("#!/usr/bin/env bash -e\nfalse\necho hi"), false), 1},
		{"CRLF in the first line", "hi\n", fileTask([]byte("#!/bin/bash\r\necho hi\n"), false), 0},
		{"a first line alone", "", fileTask([]byte("#!/bin/bash"), false), 0},
		{"gzip", "hi\n", fileTask(gzipped("#!/bin/bash\necho hi"), true), 0},
		{"gzip, flushed only", "hi\n", fileTask(flushed("#!/bin/bash\necho hi"), true), 0},
		{"gzip, long", "long\n", fileTask(gzipped(long), true), 0},
		{"gzip, long, flushed only", "long\n", fileTask(flushed(long), true), 0},
		{"mode and own directory", "700 700\n", fileTask([]byte("#!/bin/bash\necho $(stat -c %a $0) $(stat -c %a $(dirname $0))"), false), 0},
		{"exit code", "", fileTask([]byte("#!/bin/bash\nexit 42"), false), 42},
		{"own name, no arguments", "0\n", fileTask([]byte("#!/bin/bash\necho $#"), false), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			got := g.run(c.task)
			if got.stdout != c.want || got.end.ExitCode != c.exit || got.end.State != "COMPLETE" {
				t.Errorf("got %q, %+v", got.stdout, got.end.End)
			}
		})
	}
	for _, c := range []struct{ name, text, task string }{
		{"no shebang", "invalid type", fileTask([]byte("echo hi"), false)},
		{"another interpreter", "invalid type", fileTask([]byte("#!/bin/sh\necho hi"), false)},
		{"not at the beginning", "invalid type", fileTask([]byte(" #!/bin/bash\necho hi"), false)},
		{"in the second line", "invalid type", fileTask([]byte("\n#!/bin/bash\necho hi"), false)},
		{"another interpreter, gzip", "invalid type", fileTask(gzipped("#!/usr/bin/python3"), true)},
		{"an ELF file", "invalid type", fileTask([]byte("\x7fELF\x02"), false)},
		{"empty", "invalid file", `{"file":{}}`},
		{"gzip said, plain sent", "gzip: invalid header", fileTask([]byte("#!/bin/bash\necho hi"), true)},
		{"gzip said, nothing sent", "gzip: invalid header", `{"file":{"gzip":true}}`},
		{"gzip sent, not said", "invalid type", fileTask(gzipped("#!/bin/bash"), false)},
		{"a bad checksum", "invalid checksum", fileTask(damaged("#!/bin/bash\necho hi"), true)},
		{"a bomb", "64 MiB", fileTask(bomb, true)},
		{"not base64", "field content", `{"file":{"content":"!!!"}}`},
		{"file and commands", "file and commands not supported meanwhile", `{"file":{"content":"IyEvYmluL2Jhc2g="},"commands":["true"]}`},
		{"file and argv", "exactly one", `{"file":{"content":"IyEvYmluL2Jhc2g="},"argv":["true"]}`},
		{"commands and argv", "exactly one", `{"commands":["true"],"argv":["true"]}`},
		{"none", "invalid file", `{}`},
		{"empty lists", "invalid file", `{"commands":[],"argv":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			g.refused(400, c.text, "runner.task.any", `{"kind":"runner","spec":{"task":`+c.task+`}}`)
		})
	}
}

// Twenty scripts at once: each run has a file of its own, and it is gone afterwards.
func TestScriptsAtOnce(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	f := newFleet(t)
	f.start(service.Config{})
	var replies []answer
	for i := range 20 {
		script := fmt.Sprintf("#!/bin/bash\nsleep 0.2\necho script %d of $0\n", i)
		replies = append(replies, f.ask("runner.task.any", `{"kind":"runner","spec":{"task":`+fileTask([]byte(script), false)+`}}`).ok(t))
	}
	files := map[string]bool{}
	for i, reply := range replies {
		got := f.over(reply)
		want := fmt.Sprintf("script %d of ", i)
		file, ok := strings.CutPrefix(strings.TrimSpace(got.stdout), want)
		if !ok || files[file] {
			t.Errorf("run %d printed %q", i, got.stdout)
		}
		files[file] = true
		f.record(got.id)
	}
	for file := range files {
		if _, err := os.Stat(filepath.Dir(file)); !os.IsNotExist(err) {
			t.Errorf("%s is left behind (%v)", file, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A runner's start removes what an earlier life of it left, not what runs
// beside it under a name that begins like its own.
func TestStartLeavesOthersScripts(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "web-1"})
	script := "#!/bin/bash\necho $0; sleep 1000"
	reply := f.ask("runner.task.at.web-1", `{"kind":"runner","metadata":{"id":"s"},"spec":{"task":`+fileTask([]byte(script), false)+`}}`).ok(t)
	file := strings.TrimSpace(f.firstLine(reply))
	f.start(service.Config{Name: "web"})
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the other runner's script: %v", err)
	}
}
