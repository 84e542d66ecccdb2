//go:build !linux

package maint

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
)

func syncUnprivileged() int { return 1 } // only Linux's tests start this child

// model has nothing to do where the clock can't be set.
type model struct{}

func keeper(_ *testing.T, cfg Config) (*Keeper, model) { return New(cfg), model{} }

func (model) untouched(*testing.T) {}

func TestSettingIsRefusedInWords(t *testing.T) {
	k := New(Config{Servers: []string{serveTime(t, time.Minute, nil).address}, AllowSet: true})
	reply, err := maint(k, &pb.ClockQuery{Ntp: true, Sync: true})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(reply.Error, "cannot set the clock") || reply.Clock.Diff.Time < 59000 {
		t.Errorf("got %v, %v; want the difference, and setting refused in words", reply, err)
	}
}
