package sandbox_test

import (
	"os"
	"testing"

	"github.com/runnel-io/runnel/service/sandbox"
)

var levels = []sandbox.Isolation{sandbox.Standard, sandbox.Strict}

func TestProbe(t *testing.T) {
	facts := newHost(t, byCgroup).Probe()
	t.Logf("%+v", facts)
	if len(facts.Isolation) != 2 {
		t.Errorf("levels %v, because %v", facts.Isolation, facts.NoIsolation)
	}
}

func TestIsolatedBasics(t *testing.T) {
	for _, way := range []string{byCgroup, byScan} {
		for _, level := range levels {
			t.Run(way+" "+level.String(), func(t *testing.T) {
				h := newHost(t, way)
				if l := h.Probe().NoIsolation[level]; l != "" {
					t.Fatal(l)
				}
				status, out := run(t, h, sandbox.Spec{Argv: sh("echo out; echo err >&2; cat; exit 7"), Stdin: []byte("in"), Isolation: level})
				if status.ExitCode != 7 || out[0].String() != "out\nin" || out[1].String() != "err\n" {
					t.Errorf("got %+v %q %q", status, &out[0], &out[1])
				}
				status, _ = run(t, h, sandbox.Spec{Argv: sh("kill -9 $$"), Isolation: level})
				if status.SignalName() != "SIGKILL" {
					t.Errorf("got %+v", status)
				}
				_, out = run(t, h, sandbox.Spec{Argv: sh("ls /proc | grep -c '^[0-9]'; id -u; pwd; env; mount | wc -l; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; ls -la /dev /root"), Isolation: level})
				t.Logf("%s%s", &out[0], &out[1])
			})
		}
	}
	_ = os.Getpid
}
