//go:build unix && !linux

package sandbox

import (
	"errors"

	"github.com/runnel-io/runnel/service/limits"
)

// Check says in plain words why this host can't hold a run to limits and a level of isolation; nil means that it can.
func (h *Host) Check(set limits.Set, level Isolation) error {
	if level != None {
		return errors.New("isolation " + level.String() + ": only Linux can isolate")
	}
	if _, err := h.orderFor(Spec{Limits: set}, nil); err != nil {
		return errors.New("limits: only Linux can set them")
	}
	return nil
}

// Holds says whether this host can hold a run to a limit: to those alone that the kernel has no part in.
func (h *Host) Holds(limit string) bool {
	return limit == limits.OutputBytes || limit == limits.WallTime
}
