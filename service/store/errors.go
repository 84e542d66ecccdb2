package store

import "errors"

// What callers test for, with errors.Is. The texts are those that users see.
var (
	// ErrExists: the id is taken by a record that is still kept. 409.
	ErrExists = errors.New("the run exists already")
	// ErrRemoved: a run of that id was removed less than RemovedFor ago. 409.
	ErrRemoved = errors.New("a run with this id was removed less than a day ago; use another id")
	// ErrUnknownRun: no record of that id is kept. 404.
	ErrUnknownRun = errors.New("unknown run id")
	// ErrUnknownRunner: no card of that name. 404.
	ErrUnknownRunner = errors.New("unknown runner")
	// ErrFinal: the record is final, so nothing of it changes any more. Whoever
	// still runs that run must end it.
	ErrFinal = errors.New("the run is final")
	// ErrConflict: somebody else changed the record since it was read.
	ErrConflict = errors.New("the record was changed by another runner")
	// ErrLive: a run that is not final, or a runner that is online, is not
	// removed. 409.
	ErrLive = errors.New("still live")
	// ErrBusy: too many waits or scans at once. 429.
	ErrBusy = errors.New("too many queries at once. Please try later")
	// ErrIllegalMove: the table of states doesn't have that move.
	ErrIllegalMove = errors.New("illegal move")
	// ErrNoFleet: there are no buckets, so no runner has ever been here.
	ErrNoFleet = errors.New("no runner has been seen yet")
	// ErrTooLarge: the record would be above 24 KiB. 413.
	ErrTooLarge = errors.New("the record would be larger than 24 KiB")
	// ErrBadNext: the next of a query isn't one that a reply gave. 400.
	ErrBadNext = errors.New("spec.query.next is not from a reply")
)
