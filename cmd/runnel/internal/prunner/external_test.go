//go:build unix

package prunner_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// With a NATS server of one's own, which the environment names, there is none
// inside: jobs are the fleet's, seen by everybody, and stay when the program goes.
func TestServerOfOnesOwn(t *testing.T) {
	t.Parallel()
	nats := rig.Embedded(t, embedded.Config{Port: embedded.AnyPort})
	p := newPlace(t, map[string]string{"pipelines.yml": pipelines})
	p.env = append(p.env, "PRUNNER_JWT_SECRET="+secret, "NATS_URL="+nats.URL(), "NATS_NKEY="+nats.SeedFile())
	s := p.serve()
	id := s.schedule("env")
	if j := s.completed(id); j.Errored || j.Tasks[0].Status != "done" {
		t.Errorf("%+v", j)
	}
	if code, text := s.do("GET", "/job/logs?id="+id+"&task=a", ""); code != 200 || !strings.Contains(text, "inherited") {
		t.Errorf("logs: %d %s", code, text)
	}
	outside := fleet.Client(t, rig.Connect(t, nats))
	if j, err := outside.Job(rig.Within(t, time.Minute), id); err != nil || !j.GetCompleted() {
		t.Errorf("for others: %v, %v", j, err)
	}
	slow := s.schedule("slow")
	rig.EventuallyIn(t, time.Minute, "it runs", func() bool { return s.job(slow).Start != nil })
	s.signal(syscall.SIGTERM)
	if code := s.exits(); code != 0 {
		t.Errorf("exit %d", code)
	}
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "jetstream" {
			t.Errorf("%s: a server inside has kept something", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	// Started again it has all that there was.
	s = p.serve()
	if j := s.job(slow); !j.Completed || !j.Canceled || j.Tasks[0].Status != "canceled" {
		t.Errorf("the job that ran at SIGTERM: %+v", j)
	}
	if j := s.completed(s.schedule("env")); j.Errored {
		t.Errorf("%+v", j)
	}
}
