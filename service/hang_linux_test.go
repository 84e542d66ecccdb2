package service_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/hangfs"
)

// A dead server's mount may cost who looks at it an error, and nobody else
// anything: no threads, no answers, no orderly end.
func TestGlancesAtHungMount(t *testing.T) {
	count := 500
	if os.Getenv("RUNNEL_LONG") != "" {
		count = 20000
	}
	f := newFleet(t)
	runner := f.start(service.Config{})
	fs := hangfs.Mount(t)
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	f.ask("runner.glance.at.web1", `{"kind":"runner","spec":{"glance":{"sys":{"enable":true}}}}`)
	before := threads()
	fs.Hang()
	body := fmt.Sprintf(`{"kind":"runner","spec":{"glance":{"dir":{"path":%q},"file":{"path":%q,"maxSize":100}}}}`, fs.Dir, fs.Dir+"/file")
	var asked sync.WaitGroup
	for range count {
		asked.Go(func() {
			reply, err := f.nc.Request("runner.glance.at.web1", []byte(body), time.Minute)
			if err != nil || reply.Header.Get("Nats-Service-Error") == "" {
				t.Errorf("got %v, %v; want an error reply", reply, err)
			}
		})
	}
	began := time.Now()
	for _, path := range []string{"/", "/etc"} {
		reply := f.ask("runner.task.at.web1", `{"kind":"runner","spec":{"task":{"commands":["true"]}}}`)
		if reply.Header.Get("Nats-Service-Error") != "" {
			t.Errorf("a task beside the glances at %s: %s", path, reply.Data)
		}
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("two tasks took %v", took)
	}
	asked.Wait()
	if now := threads(); now > before+40 {
		t.Errorf("%d threads, %d before", now, before)
	}
	began = time.Now()
	last := f.ask("runner.glance.at.web1", body)
	if text := string(last.Data); !strings.Contains(text, fs.Dir) || last.Header.Get("Nats-Service-Error-Code") != "503" {
		t.Errorf("got %v %s, want a 503 that names the mount", last.Header, text)
	}
	runner.Close()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("refusing and closing took %v", took)
	}
}
