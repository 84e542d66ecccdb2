package sandbox_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// Many isolated runs at once each get their own output and status.
func TestIsolatedAtOnce(t *testing.T) {
	h := newHost(t, byScan)
	if why := h.Probe().NoIsolation[sandbox.Strict]; why != "" {
		t.Skip(why)
	}
	n := 200
	if testing.Short() {
		n = 40
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			p, err := h.Start(sandbox.Spec{ID: fmt.Sprint(i), Argv: sh(fmt.Sprintf("echo %d; exit %d", i, i%100)), Isolation: append(levels, sandbox.None)[i%3],
				Limits: limitsOf(t, limits.Text{limits.Core: "0"}), Env: []string{"PATH=/bin"}})
			if err != nil {
				t.Error(err)
				return
			}
			var out output
			status, err := p.Pump(out.take, nil)
			if err != nil || status.ExitCode != i%100 || out[0].String() != fmt.Sprintf("%d\n", i) {
				t.Errorf("run %d: %+v, %v, %q", i, status, err, &out[0])
			}
		})
	}
	all.Wait()
}
