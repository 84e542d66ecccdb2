package sandbox

import (
	"errors"

	"github.com/runnel-io/runnel/service/limits"
)

// Check says in plain words why this host can't hold a run to limits and a level of isolation; nil means that it can. What Probe has not tried yet counts as possible.
func (h *Host) Check(set limits.Set, level Isolation) error {
	if err := h.mayLimit(set); err != nil {
		return err
	}
	switch {
	case level != None && h.shims.path == "":
		return errors.New("isolation " + level.String() + ": " + h.shims.why)
	case len(set.Rlimits()) > 0 && h.shims.path == "":
		return errors.New("limits of each process: " + h.shims.why)
	}
	if why := h.Facts().NoIsolation[level]; why != "" {
		return errors.New("isolation " + level.String() + ": " + why)
	}
	return nil
}
