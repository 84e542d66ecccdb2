package maint

import (
	"bufio"
	"math"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// A real server, where one can be had.
func TestAgainstChrony(t *testing.T) {
	daemon := newKernel().daemon()
	script := exec.Command("../../tests/ntp", t.TempDir())
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	script.Stderr = &said
	if err := script.Start(); err != nil {
		t.Skip("cannot run tests/ntp: ", err)
	}
	giveUp := time.AfterFunc(time.Minute, func() { script.Process.Kill() })
	defer giveUp.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		script.Wait()
		t.Skipf("tests/ntp gives no server here: %s", said.String())
	}
	defer script.Wait()
	defer script.Process.Signal(syscall.SIGTERM)
	k := New(Config{Servers: []string{strings.TrimSpace(line)}})

	// It answers "not in sync" until it has started, and nothing before that.
	var reply *pb.MaintReply
	for deadline := time.Now().Add(20 * time.Second); ; {
		if reply, err = maint(k, &pb.ClockQuery{Ntp: true}); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c := reply.Clock
	if math.Abs(c.Offset) > 50 || c.Diff.Dangerous || c.Stratum != 2 || c.Uncertainty <= 0 || c.Uncertainty > 100 {
		t.Errorf("got %v; want this machine's own time at stratum 2", c)
	}
	if c.Daemon != daemon {
		t.Errorf("got daemon %q, want %q: this server leaves the clock alone", c.Daemon, daemon)
	}
}
