package store

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
	"github.com/runnel-io/runnel/subjects"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	// replyRoom is what a reply needs besides its records, bytes.
	replyRoom = 8 << 10
)

// cursor is the last place of a page, and the revision that was found there as
// a hint where to begin to read for the next.
type cursor struct {
	record.Place
	rev uint64
}

// String is the next of a reply. Its form is nobody's business.
func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", c.Time, c.rev, c.ID))
}

func parseCursor(s string) (*cursor, error) {
	if s == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	fields := strings.Split(string(raw), " ")
	if err != nil || len(fields) != 3 || subjects.RunID(fields[2]) != nil {
		return nil, ErrBadNext
	}
	t, err1 := strconv.ParseInt(fields[0], 10, 64)
	rev, err2 := strconv.ParseUint(fields[1], 10, 64)
	if err1 != nil || err2 != nil {
		return nil, ErrBadNext
	}
	return &cursor{record.Place{Time: t, ID: fields[2]}, rev}, nil
}

// filter is what a query asks of a record.
type filter struct {
	states []pb.State // empty: any
	record.Traits
}

func (f filter) matches(p record.Peeked) bool {
	return p.Fits && (len(f.states) == 0 || slices.Contains(f.states, p.State))
}

// canMatch says whether a record can match, now or later: its traits never change.
func (f filter) canMatch(p record.Peeked) bool {
	return p.Fits && (len(f.states) == 0 ||
		slices.ContainsFunc(f.states, func(s pb.State) bool { return canReach(p.State, s) }))
}

// page collects the newest matching records after a cursor, and one more to
// know whether there are more. Memory is bounded by the limit.
type page struct {
	filter
	limit int
	after *cursor
	rows  []row // oldest first
	has   map[string]struct{}
	// waiting are the listed runs that have no record yet.
	waiting map[string]kv.Entry
}

type row struct {
	record.Place
	rev  uint64
	body []byte
}

func newPage(f filter, limit int64, after *cursor) *page {
	n := defaultLimit
	if limit > 0 {
		n = int(min(limit, maxLimit))
	}
	return &page{filter: f, limit: n, after: after, has: make(map[string]struct{})}
}

// add looks at one revision of a record; the later revision comes later.
func (p *page) add(e kv.Entry) {
	if e.Body == nil {
		p.drop(e.Key)
		return
	}
	seen, err := record.Peek(e.Body, p.Traits)
	if err != nil || string(seen.ID) != e.Key || subjects.RunID(e.Key) != nil {
		return // not written by us
	}
	p.drop(e.Key)
	if !p.matches(seen) {
		return
	}
	at := record.Place{Time: record.PlaceTime(seen.Created, e), ID: e.Key}
	if p.after != nil && at.Compare(p.after.Place) >= 0 {
		return
	}
	if p.full() && at.Compare(p.rows[0].Place) < 0 {
		return
	}
	p.insert(row{at, e.Rev, e.Body})
	if len(p.rows) > p.limit+1 {
		delete(p.has, p.rows[0].ID)
		p.rows = p.rows[1:]
	}
}

func (p *page) insert(r row) {
	// Nearly always the newest of all: a scan reads in the order of changes.
	i := len(p.rows)
	for i > 0 && p.rows[i-1].Compare(r.Place) > 0 {
		i--
	}
	p.rows = slices.Insert(p.rows, i, r)
	p.has[r.ID] = struct{}{}
}

// drop takes out an earlier revision of a record.
func (p *page) drop(id string) {
	if _, ok := p.has[id]; ok {
		delete(p.has, id)
		p.rows = slices.DeleteFunc(p.rows, func(r row) bool { return r.ID == id })
	}
}

// clear empties the page.
func (p *page) clear() {
	p.rows = nil
	clear(p.has)
}

// full: the page has all it can have and knows that there are more.
func (p *page) full() bool { return len(p.rows) > p.limit }

// reply decodes the page, newest first, up to a size in bytes.
func (p *page) reply(maxBytes int) (*pb.QueryReply, error) {
	reply := &pb.QueryReply{}
	size := 0
	var last row
	for _, r := range slices.Backward(p.rows) {
		size += len(r.body) + 1
		if len(reply.Runs) == p.limit || len(reply.Runs) > 0 && size > maxBytes {
			reply.Next = cursor{last.Place, last.rev}.String()
			break
		}
		run, err := record.Decode(r.body)
		if err != nil {
			return nil, err
		}
		reply.Runs = append(reply.Runs, run)
		last = r
	}
	return reply, nil
}
