package tails

import (
	"fmt"
	"strconv"
	"strings"
)

// Place is a record of a log: number 1 and up in the message with this
// Runner-Seq. The zero value is before all.
type Place struct {
	Seq    uint64
	Record int
}

func (p Place) String() string { return fmt.Sprintf("%d.%d", p.Seq, p.Record) }

// Before says whether a place is before another one.
func (p Place) Before(q Place) bool { return p.Seq < q.Seq || p.Seq == q.Seq && p.Record < q.Record }

// PlaceOf reads what String wrote.
func PlaceOf(text string) (p Place, ok bool) {
	seq, record, found := strings.Cut(text, ".")
	var err, err2 error
	p.Seq, err = strconv.ParseUint(seq, 10, 64)
	p.Record, err2 = strconv.Atoi(record)
	return p, found && err == nil && err2 == nil && p.Seq > 0 && p.Record > 0
}
