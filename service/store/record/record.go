// Package record reads the record of a run: all of it, or only what a list must know
// of it, and where it stands in lists.
package record

import (
	"cmp"
	"strings"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// Decode reads a record.
func Decode(body []byte) (*pb.Run, error) {
	run := &pb.Run{}
	if err := pb.UnmarshalRecord(body, run); err != nil {
		return nil, err
	}
	return run, nil
}

// Place is where a record stands in a list: newest first, by time, then by id.
// It doesn't change after the record is final.
type Place struct {
	Time int64 // Unix, ns
	ID   string
}

// Compare orders places, the oldest first.
func (p Place) Compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Time, q.Time), strings.Compare(p.ID, q.ID))
}

// PlaceTime is the time that orders lists: when the run was created, but never
// later than its record was stored, whatever its runner's clock said. So what
// was stored before some moment stands behind it in every list.
func PlaceTime(created int64, e kv.Entry) int64 {
	stored := e.Stored.UnixNano()
	if created == 0 {
		return stored
	}
	return min(created, stored)
}
