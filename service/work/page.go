package work

import (
	"context"
	"strconv"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// PageOf says which work that waits is listed.
type PageOf struct {
	// Pool whose work it is. Empty: any.
	Pool string
	// Limit is how much at most.
	Limit int
	// Next is from the page before.
	Next string
}

// Validate refuses what can't be a page.
func (of PageOf) Validate() error {
	if _, err := of.begin(); err != nil {
		return err
	}
	if of.Pool != "" && subjects.Token(of.Pool) != nil {
		return pb.Invalid("pool: %q is none", of.Pool)
	}
	return nil
}

// begin is the sequence that the page begins at.
func (of PageOf) begin() (uint64, error) {
	if of.Next == "" {
		return 1, nil
	}
	seq, err := strconv.ParseUint(of.Next, 10, 64)
	if err != nil {
		return 0, pb.Invalid("next: %q is not from a reply", of.Next)
	}
	return seq, nil
}

// Page lists work that waits, oldest first, and why it does. next is not empty when
// there is more.
func (q *Queue) Page(ctx context.Context, of PageOf) (page []*pb.Run, next string, err error) {
	begin, err := of.begin()
	if err != nil {
		return nil, "", err
	}
	err = q.EachFrom(ctx, of.Pool, begin, func(run *pb.Run, w Work) bool {
		if len(page) == of.Limit {
			next = strconv.FormatUint(w.Seq, 10)
			return false
		}
		page = append(page, run)
		return true
	})
	if err == nil {
		err = q.Explain(ctx, page)
	}
	return page, next, err
}
