package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/work"
)

// refusedFor is how long work that was refused waits for a runner that can take it.
const refusedFor = time.Minute

// cannot is for an attempt that can't start here: for a reason of the request's
// own it can't anywhere.
func (q *Queue) cannot(d *delivery, n int, err error) {
	var invalid *pb.InvalidError
	if errors.As(err, &invalid) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, run.ErrLogKept) {
		q.reject(d, n, pb.ReasonRejected, err.Error())
		return
	}
	q.refuse(d, n, err)
}

// refuse leaves work to another runner of the pool. When each one that is online
// has refused it, or after a minute, it is rejected for all their reasons.
func (q *Queue) refuse(d *delivery, n int, why error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	refusals, err := q.cfg.Work.AddRefusal(ctx, d.ID, q.cfg.Name, why.Error())
	var open bool
	if err == nil {
		open, err = q.othersMay(ctx, d.Pool, refusals)
	}
	if err != nil {
		q.log.Warn("cannot note that work is refused", "work", d.ID, "error", err)
		d.giveBack(soon)
		return
	}
	if open {
		q.mu.Lock()
		q.refused[d.ID] = refusals.Since
		q.mu.Unlock()
		d.giveBackSoon()
		return
	}
	q.mu.Lock()
	delete(q.refused, d.ID)
	q.mu.Unlock()
	q.reject(d, n, pb.ReasonRejected, fmt.Sprintf("no runner of pool %s can take it: %s", d.Pool, refusals.Words()))
	_ = q.cfg.Work.DropRefusals(ctx, d.ID) // else it goes by itself
}

// othersMay says whether a runner of the pool is online that has not refused, or
// one may still come.
func (q *Queue) othersMay(ctx context.Context, pool string, r work.Refusals) (bool, error) {
	if q.now(ctx).Sub(r.Since) >= refusedFor {
		return false, nil
	}
	cards, err := q.cfg.Store.Cards(ctx)
	if err != nil {
		return false, err
	}
	for _, c := range cards {
		if c.Online && slices.Contains(c.Card.GetPools(), pool) && r.Reason[c.Card.GetName()] == "" {
			return true, nil
		}
	}
	return false, nil
}

// refusedLately says whether this runner has refused work and its minute is not
// over.
func (q *Queue) refusedLately(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	since, has := q.refused[id]
	if has && time.Since(since) >= refusedFor/4 {
		delete(q.refused, id) // look again who is there
		return false
	}
	return has
}

// bare is the submission of work that is not to start, whatever its body is.
func (q *Queue) bare(d *delivery, n int) (run.Submission, error) {
	if d.req != nil {
		return q.submission(d, n)
	}
	id := d.ID
	if pb.CheckQueueID(id) != nil { // the record has an id of its own, then
		sum := sha256.Sum256([]byte(d.msg.Subject + d.Accepted.String()))
		id = "rejected-" + hex.EncodeToString(sum[:12])
	}
	sum := sha256.Sum256(d.Body)
	return run.Submission{
		Request: &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id, Name: "rejected work on " + d.msg.Subject}},
		Digest:  hex.EncodeToString(sum[:]),
		Queued:  &pb.Queued{Pool: d.Pool, Priority: d.Priority, Seq: int64(d.Seq), Accepted: stamp(d.Accepted)},
		Attempt: n,
	}, nil
}
