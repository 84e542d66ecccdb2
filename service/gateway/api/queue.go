package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

type queueOut struct {
	Lines     []client.QueueLine     `json:"lines" doc:"the work by pool and priority; a paused pool without work has one, too"`
	Conflicts []client.QueueConflict `json:"conflicts" doc:"messages that were dropped lately, since another request had their id"`
}

type workListIn struct {
	Pool   string `query:"pool" doc:"of this pool"`
	Failed bool   `query:"failed" doc:"work that has failed and can be tried again, newest first, instead of what waits"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Next   string `query:"next" doc:"from the reply before"`
}

type workList struct {
	Work []run  `json:"work" doc:"what waits, oldest first: runs that are PENDING, and in queued why they wait"`
	Next string `json:"next" doc:"not empty when there is more"`
}

// retries are a number, or an object.
type retries struct{ is *structpb.Value }

// UnmarshalJSON reads any; the task's validation says what is wrong.
func (r *retries) UnmarshalJSON(body []byte) error {
	r.is = &structpb.Value{}
	return protojson.Unmarshal(body, r.is)
}

// Schema is huma.SchemaProvider.
func (retries) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "a number, or an object with max, backoff and on: how often it is tried again, and after what"}
}

var _ json.Unmarshaler = (*retries)(nil)

type enqueueIn struct {
	Body struct {
		Program
		ID          string                  `json:"id,omitempty" doc:"the work's id, of at most 48 characters: the same again, with the same task, is the same work. Default: a new one"`
		Pool        string                  `json:"pool,omitempty" doc:"whose runners may take it; default: default"`
		Priority    string                  `json:"priority,omitempty" enum:"high,normal,low" doc:"default: normal"`
		Retries     *retries                `json:"retries,omitempty"`
		Delay       string                  `json:"delay,omitempty" doc:"a duration: it starts after so long at the earliest"`
		NotBefore   *time.Time              `json:"notBefore,omitempty" doc:"it starts then at the earliest"`
		Concurrency *asked[*pb.Concurrency] `json:"concurrency,omitempty" doc:"at most max runs with the key at a time in the fleet"`
	}
}

type enqueued struct {
	Location string `header:"Location"`
	Body     run
}

// WorkIn is work in a path.
type WorkIn struct {
	ID string `path:"id" doc:"the work's id"`
}

// PoolIn is a pool in a path.
type PoolIn struct {
	Pool string `path:"pool" doc:"the pool's name"`
}

type workShown struct {
	Work     run   `json:"work" doc:"what the id means: the last attempt, or the one that it waits for"`
	Attempts []run `json:"attempts" doc:"those that it had, and the one that it waits for"`
}

type retried struct {
	IDs []string `json:"ids" doc:"of the new attempts"`
}

type paused struct {
	Pool        string   `json:"pool"`
	Paused      bool     `json:"paused"`
	Unconfirmed []string `json:"unconfirmed" doc:"runners of the pool that are online and have not said that they know"`
}

type purged struct {
	Removed int `json:"removed" doc:"how much work"`
}

func (s *server) describeQueue(d *desk) {
	add(d, row{"show-queue", "GET", "/api/v1/queue", auth.ScopeRead, "How much work waits and runs, how old it is, and what is paused", 0}, s.showQueue)
	add(d, row{"list-work", "GET", "/api/v1/queue/work", auth.ScopeRead, "Work that waits, or that has failed", 0}, s.listWork)
	add(d, row{"queue-work", "POST", "/api/v1/queue/work", auth.ScopeRun, "Put a task into the durable queue", http.StatusAccepted}, s.enqueue)
	add(d, row{"show-work", "GET", "/api/v1/queue/work/{id}", auth.ScopeRead, "Work, its attempts, and why it waits", 0}, s.showWork)
	add(d, row{"remove-work", "DELETE", "/api/v1/queue/work/{id}", auth.ScopeRun, "Remove work that waits: it never starts", 0},
		func(ctx context.Context, in *WorkIn) (*answer[run], error) {
			r, err := s.Client.Dequeue(ctx, in.ID)
			if err != nil {
				return nil, s.notWaiting(ctx, in.ID, r, err)
			}
			s.audit(ctx, "work was removed over HTTP", "work", in.ID)
			return &answer[run]{run{is: r}}, nil
		})
	add(d, row{"retry-work", "POST", "/api/v1/queue/work/{id}/retry", auth.ScopeRun, "Try failed work once more", http.StatusAccepted},
		func(ctx context.Context, in *WorkIn) (*answer[retried], error) { return s.retry(ctx, in.ID) })
	add(d, row{"retry-failed", "POST", "/api/v1/queue/retry", auth.ScopeRun, "Try all failed work once more", http.StatusAccepted},
		func(ctx context.Context, _ *struct{}) (*answer[retried], error) {
			failed, err := s.Client.FailedWork(ctx)
			if err != nil {
				return nil, err
			}
			ids := make([]string, len(failed))
			for i, r := range failed {
				ids[i] = r.GetGroup()
			}
			return s.retry(ctx, ids...)
		})
	s.describePools(d)
}

func (s *server) describePools(d *desk) {
	add(d, row{"pause-pool", "POST", "/api/v1/queue/pools/{pool}/pause", auth.ScopeRun, "Start nothing more of a pool's queue", 0},
		func(ctx context.Context, in *PoolIn) (*answer[paused], error) {
			return s.pausePool(ctx, in.Pool, true, s.Client.Pause(ctx, in.Pool, auth.CallerOf(ctx).Sub))
		})
	add(d, row{"resume-pool", "POST", "/api/v1/queue/pools/{pool}/resume", auth.ScopeRun, "End a pause", 0},
		func(ctx context.Context, in *PoolIn) (*answer[paused], error) {
			return s.pausePool(ctx, in.Pool, false, s.Client.Resume(ctx, in.Pool))
		})
	add(d, row{"purge-pool", "POST", "/api/v1/queue/pools/{pool}/purge", auth.ScopeRun, "Remove all work of a pool that waits", 0},
		func(ctx context.Context, in *PoolIn) (*answer[purged], error) {
			n, err := s.Client.Purge(ctx, in.Pool)
			s.audit(ctx, "a pool's queue was purged over HTTP", "pool", in.Pool, "removed", n)
			if errors.Is(err, client.ErrNoQueue) {
				err = nil
			}
			return &answer[purged]{purged{n}}, err
		})
}

func (s *server) showQueue(ctx context.Context, _ *struct{}) (*answer[queueOut], error) {
	lines, err := s.Client.Queue(ctx)
	if err != nil {
		return nil, err
	}
	conflicts, err := s.Client.QueueConflicts(ctx)
	out := queueOut{[]client.QueueLine{}, []client.QueueConflict{}}
	out.Lines, out.Conflicts = append(out.Lines, lines...), append(out.Conflicts, conflicts...)
	return &answer[queueOut]{out}, err
}

func (s *server) listWork(ctx context.Context, in *workListIn) (*answer[workList], error) {
	out := workList{Work: []run{}}
	if in.Failed {
		failed, err := s.Client.FailedWork(ctx)
		for _, r := range failed {
			if len(out.Work) < in.Limit && (in.Pool == "" || r.GetQueued().GetPool() == in.Pool) {
				out.Work = append(out.Work, run{is: r})
			}
		}
		return &answer[workList]{out}, err
	}
	waiting, next, err := s.Client.WaitingPage(ctx, client.WaitingOptions{Pool: in.Pool, Limit: in.Limit, Next: in.Next})
	for _, r := range waiting {
		out.Work = append(out.Work, run{is: r})
	}
	out.Next = next
	return &answer[workList]{out}, err
}

func (s *server) enqueue(ctx context.Context, in *enqueueIn) (*enqueued, error) {
	if s.Stopping.Load() {
		return nil, problem(http.StatusServiceUnavailable, "the gateway is shutting down")
	}
	b := in.Body
	what, err := b.task()
	if err != nil {
		return nil, err
	}
	what.Delay = b.Delay
	if b.NotBefore != nil {
		what.NotBefore = timestamppb.New(*b.NotBefore)
	}
	if b.Retries != nil {
		what.Retries = b.Retries.is
	}
	if b.Concurrency != nil {
		what.Concurrency = b.Concurrency.is
	}
	claim(what, auth.CallerOf(ctx))
	req, err := requestOf(b.ID, what)
	if err != nil {
		return nil, err
	}
	id, err := s.Client.Enqueue(ctx, client.Work{Pool: b.Pool, Priority: b.Priority, Task: req})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "work was queued over HTTP", "work", id)
	whole, err := s.whole(ctx, id)
	return &enqueued{"/api/v1/queue/work/" + url.PathEscape(id), run{is: whole}}, err
}

// whole is what an id means, and why it waits.
func (s *server) whole(ctx context.Context, id string) (*pb.Run, error) {
	whole, err := s.Client.Whole(ctx, id)
	if err == nil {
		err = s.Client.ExplainWaiting(ctx, whole)
	}
	return whole, err
}

func (s *server) showWork(ctx context.Context, in *WorkIn) (*answer[workShown], error) {
	id := pb.WorkOf(in.ID)
	whole, err := s.whole(ctx, id)
	if err != nil {
		return nil, err
	}
	if whole.GetQueued() == nil {
		return nil, problem(http.StatusNotFound, "run %s did not come from the queue", id)
	}
	attempts, err := s.Client.Attempts(ctx, id)
	if err != nil && !errors.Is(err, client.ErrUnknownRun) {
		return nil, err
	}
	if client.IsWaiting(whole) {
		attempts = append(attempts, whole)
	}
	out := workShown{run{is: whole}, []run{}}
	for _, r := range attempts {
		out.Attempts = append(out.Attempts, run{is: r})
	}
	return &answer[workShown]{out}, nil
}

// notWaiting says what is the case instead.
func (s *server) notWaiting(ctx context.Context, id string, r *pb.Run, err error) error {
	if !errors.Is(err, client.ErrNotWaiting) && !errors.Is(err, client.ErrNoQueue) {
		return err
	}
	if r == nil { // its message is gone
		r, _ = s.Client.Whole(ctx, id)
	}
	if r == nil {
		return problem(http.StatusNotFound, "no work %s waits in the queue", id)
	}
	return problem(http.StatusConflict, "%s does not wait: it is %s", id, r.GetState())
}

func (s *server) retry(ctx context.Context, ids ...string) (*answer[retried], error) {
	out := retried{[]string{}}
	for _, id := range ids {
		attempt, err := s.Client.Retry(ctx, id)
		if err != nil {
			return nil, err
		}
		s.audit(ctx, "work was tried again over HTTP", "work", id, "attempt", attempt)
		out.IDs = append(out.IDs, attempt)
	}
	return &answer[retried]{out}, nil
}

func (s *server) pausePool(ctx context.Context, pool string, is bool, err error) (*answer[paused], error) {
	out := paused{Pool: pool, Paused: is, Unconfirmed: []string{}}
	if e := (*client.UnconfirmedError)(nil); errors.As(err, &e) {
		out.Unconfirmed, err = e.Runners, nil
	}
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "a pool was paused or resumed over HTTP", "pool", pool, "paused", is)
	return &answer[paused]{out}, nil
}
