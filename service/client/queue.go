package client

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/service/work"
)

// Conditions of the durable queue, to test for with errors.Is.
var (
	// ErrNoQueue: nobody has used the queue of this fleet yet.
	ErrNoQueue = work.ErrNoQueue
	// ErrQueueFull: the queue is at its limit.
	ErrQueueFull = work.ErrFull
	// ErrNotWaiting: no work of this id waits in the queue.
	ErrNotWaiting = work.ErrNotWaiting
	// ErrNoRetry: work can't be tried again; the error says why.
	ErrNoRetry = work.ErrNoRetry
	// ErrOldServer: the NATS server can't keep a queue, or schedules.
	ErrOldServer = stream.ErrOldServer
)

// Work is a task for the queue.
type Work struct {
	// Pool whose runners may take it. Default: "default".
	Pool string
	// Priority: "high", "normal" or "low". Default: "normal".
	Priority string
	// Task, with its id in the metadata: one is made where there is none.
	Task *pb.TaskRequest
}

// workItem is work with envelope and id.
func (w Work) item() work.Item {
	return work.Item{Pool: w.Pool, Priority: w.Priority, Request: withID(w.Task)}
}

// Enqueue stores work in the queue and returns its id as soon as JetStream has it; no
// runner need be online. The same request under the same id is the same work, whether
// it waits, runs or has ended. Errors: ErrConflict, ErrQueueFull, *pb.InvalidError.
func (c *Client) Enqueue(ctx context.Context, w Work) (id string, err error) {
	item := w.item()
	id = item.Request.GetMetadata().GetId()
	if err := pb.CheckQueueID(id); err != nil {
		return id, err
	}
	q, err := c.link.MakeQueue(ctx)
	if err != nil {
		return id, err
	}
	if !isFresh(id) { // an id of one's own may have been used
		if again, err := c.ranBefore(ctx, item); again || err != nil {
			return id, err
		}
	}
	accepted, err := q.Put(ctx, item)
	if errors.Is(err, work.ErrConflict) {
		err = takenError{id}
	}
	if err != nil {
		return id, err
	}
	return accepted.ID, nil
}

// EnqueueAsync hands work to the connection and returns at once; the future says
// whether it was stored. It is for bulk: several thousand may be in flight. An id that
// was used before is refused only while its work still waits; later, the runner that
// takes it drops it.
func (c *Client) EnqueueAsync(ctx context.Context, w Work) (id string, stored jetstream.PubAckFuture, err error) {
	item := w.item()
	id = item.Request.GetMetadata().GetId()
	q, err := c.link.MakeQueue(ctx)
	if err != nil {
		return id, nil, err
	}
	stored, err = q.PutAsync(item)
	return id, stored, err
}

// takenError is an ErrConflict: an id was used before.
type takenError struct{ id string }

func (e takenError) Error() string {
	return "cannot queue " + e.id + ": another request has this id already; give it another id"
}

func (e takenError) Is(target error) bool { return target == ErrConflict || target == work.ErrConflict }

// isFresh says that an id was just made, so that nobody can have used it.
func isFresh(id string) bool {
	u, err := ulid.ParseStrict(id)
	return err == nil && time.Since(u.Timestamp()).Abs() < time.Minute
}

// ranBefore says whether the same request has a run already.
func (c *Client) ranBefore(ctx context.Context, item work.Item) (bool, error) {
	id := item.Request.GetMetadata().GetId()
	run, err := c.Status(ctx, id)
	if errors.Is(err, store.ErrUnknownRun) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	digest, err := item.Request.Digest()
	if err == nil && run.GetDigest() != digest {
		err = takenError{id}
	}
	return err == nil, err
}
