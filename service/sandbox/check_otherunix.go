//go:build unix && !linux

package sandbox

import "errors"

// Check says in plain words why this host can't hold a run to limits and a level of isolation; nil means that it can.
func (h *Host) Check(limits Limits, level Isolation) error {
	if level != None {
		return errors.New("isolation " + level.String() + ": only Linux can isolate")
	}
	if _, err := h.orderFor(Spec{Limits: limits}, nil); err != nil {
		return errors.New("limits: only Linux can set them")
	}
	return nil
}
