package store

import (
	"slices"

	"github.com/runnel-io/runnel/pb"
)

// moves is the whole of a run's life (names and meaning from scoot). A state
// that may move to itself is one whose record may change within it, such as
// when an abort was asked for.
var moves = map[pb.State][]pb.State{
	pb.State_PENDING: {pb.State_PENDING, pb.State_RUNNING, pb.State_FAILED, pb.State_ABORTED},
	pb.State_RUNNING: {pb.State_RUNNING, pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT},
}

// CanMove says whether a record may go from one state to the other.
func CanMove(from, to pb.State) bool { return slices.Contains(moves[from], to) }

// Final says whether a state never changes: all but PENDING and RUNNING.
func Final(s pb.State) bool { return len(moves[s]) == 0 }

// canBegin says whether a record may be created in a state. A run that was
// refused or has ended before it could be recorded begins at its end.
func canBegin(s pb.State) bool {
	return s == pb.State_PENDING || s == pb.State_RUNNING || canReach(pb.State_PENDING, s)
}

// canReach says whether a run that is in one state now can be in the other, now
// or later.
func canReach(from, to pb.State) bool {
	if from == to {
		return true
	}
	for _, next := range moves[from] {
		if next != from && canReach(next, to) {
			return true
		}
	}
	return false
}
