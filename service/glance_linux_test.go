package service_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/runnel-io/runnel/service"
)

// A fifo never blocks, and /proc is read though it says that its files are empty.
func TestGlanceOddFiles(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	f.glance(`{"file":{"path":`+quote(fifo)+`,"maxSize":100}}`).partFails(t, "file", 400, "regular")
	a := f.glance(`{"dir":{"path":` + quote(filepath.Dir(fifo)) + `}}`).ok(t)
	if got := field(a.list("dir", "entries")[2], "mode"); got != "prw-r--r--" {
		t.Errorf("got mode %v of a fifo", got)
	}
	read := func(maxSize int) string {
		a := f.glance(fmt.Sprintf(`{"file":{"path":"/proc/version","maxSize":%d}}`, maxSize)).ok(t)
		content, _ := base64.StdEncoding.DecodeString(a.text("file", "content"))
		return string(content)
	}
	if got := read(4096); !strings.HasPrefix(got, "Linux version") || !strings.HasSuffix(got, "\n") {
		t.Errorf("got %q", got)
	}
	if got := read(5); got != "Linux" {
		t.Errorf("got %q, want no byte more than maxSize", got)
	}
}

// A hundred requests, good and bad, leave no descriptor open.
func TestGlanceLeavesNothingOpen(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "file"), "hello\n")
	bodies := []string{
		`{"dir":{"path":` + quote(dir) + `},"file":{"path":` + quote(file) + `,"maxSize":6},"sys":{"enable":true}}`,
		`{"file":{"path":` + quote(file) + `,"maxSize":1}}`, `{"file":{"path":` + quote(dir) + `,"maxSize":1}}`,
		`{"dir":{"path":` + quote(file) + `}}`, `{"file":{"path":"/etc/shadow","maxSize":100000}}`, `{"dir":{"path":"/proc/self/fd"}}`,
	}
	open := func() (names []string) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && (strings.HasPrefix(to, dir) || strings.HasPrefix(to, "/etc") || strings.HasPrefix(to, "/proc")) {
				names = append(names, to)
			}
		}
		return names
	}
	before := len(open())
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { f.glance(bodies[i%len(bodies)]) })
	}
	all.Wait()
	if after := open(); len(after) > before+1 { // this look has one itself
		t.Errorf("left open: %v", after)
	}
}
