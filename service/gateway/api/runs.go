package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

// run is a run's record, or its JSON as it is stored.
type run struct {
	is      *pb.Run
	encoded []byte
}

// MarshalJSON writes the record.
func (r run) MarshalJSON() ([]byte, error) {
	if r.encoded != nil {
		return r.encoded, nil
	}
	return pb.MarshalJSON(r.is)
}

// Schema is huma.SchemaProvider.
func (run) Schema(r huma.Registry) *huma.Schema { return message[*pb.Run]{}.Schema(r) }

// RunIn is a run in a path.
type RunIn struct {
	ID string `path:"id" doc:"the run's id"`
}

type abortIn struct {
	RunIn
	Wait string `query:"wait" doc:"a duration, at most 30s: how long to wait for its end. Default: not"`
}

type runsIn struct {
	State  []string  `query:"state" enum:"PENDING,RUNNING,COMPLETE,FAILED,ABORTED,TIMEDOUT" doc:"in one of these"`
	Runner string    `query:"runner" doc:"of this runner"`
	Group  string    `query:"group" doc:"of this fan-out"`
	Tag    []string  `query:"tag,explode" doc:"name=value; several must all be there"`
	Text   string    `query:"text" doc:"in an id, name, command, runner, tag, reason or error"`
	Since  time.Time `query:"since" doc:"accepted then or later"`
	Until  time.Time `query:"until" doc:"accepted before then"`
	Limit  int64     `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Next   string    `query:"next" doc:"from the reply before"`
}

type runs struct {
	Runs []run  `json:"runs" doc:"newest first"`
	Next string `json:"next" doc:"not empty when there may be more; a page may be short all the same"`
}

func (s *server) describeRuns(d *desk) {
	add(d, row{"start-run", "POST", "/api/v1/runs", auth.ScopeCode, "Run a task, on one runner or on all that are meant", http.StatusAccepted}, s.start)
	answers := s.Doc.Paths["/api/v1/runs"].Post.Responses
	answers["200"] = answers["202"] // all have ended
	add(d, row{"list-runs", "GET", "/api/v1/runs", auth.ScopeRead, "Runs, newest first", 0}, s.listRuns)
	add(d, row{"show-run", "GET", "/api/v1/runs/{id}", auth.ScopeRead, "A run's record; of work that waits in the queue, the attempt that it waits for", 0},
		func(ctx context.Context, in *RunIn) (*answer[run], error) {
			r, err := s.Client.Shown(ctx, in.ID)
			return &answer[run]{run{is: r}}, known(err)
		})
	add(d, row{"abort-run", "POST", "/api/v1/runs/{id}/abort", auth.ScopeRun, "End a run", 0}, s.abort)
	add(d, row{"remove-run", "DELETE", "/api/v1/runs/{id}", auth.ScopeAdmin, "Remove a run that has ended, and its output", http.StatusNoContent},
		func(ctx context.Context, in *RunIn) (*struct{}, error) {
			err := s.Client.Remove(ctx, in.ID)
			if err == nil {
				s.audit(ctx, "a run was removed over HTTP", "run", in.ID)
			}
			return nil, known(err)
		})
}

// known gives an unknown run the words that every route has for it.
func known(err error) error {
	if err != nil && codeOf(err) == http.StatusNotFound {
		return problem(http.StatusNotFound, "Run not found")
	}
	return err
}

func (s *server) abort(ctx context.Context, in *abortIn) (*answer[run], error) {
	wait, err := pb.Duration("wait", in.Wait, 0)
	if err != nil {
		return nil, err
	}
	if wait > pb.MaxWait {
		return nil, problem(http.StatusBadRequest, "wait: %q is more than %s", in.Wait, pb.MaxWait)
	}
	r, err := s.Client.Abort(ctx, in.ID, wait)
	if err != nil {
		return nil, known(err)
	}
	s.audit(ctx, "a run was aborted over HTTP", "run", in.ID)
	return &answer[run]{run{is: r}}, nil
}

// searchTime is how long a list may look for runs that match; the next page goes
// on from there.
const searchTime = 3 * time.Second

func (s *server) listRuns(ctx context.Context, in *runsIn) (*answer[runs], error) {
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	out := runs{Runs: []run{}}
	for began := time.Now(); ; {
		q.Limit = in.Limit - int64(len(out.Runs))
		reply, err := s.Client.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		tooOld := false
		for _, r := range reply.GetRuns() {
			created := r.GetCreated().AsTime()
			tooOld = created.Before(in.Since)
			if !tooOld && (in.Until.IsZero() || created.Before(in.Until)) && runHas(r, in.Text) {
				out.Runs = append(out.Runs, run{is: r})
			}
		}
		q.Next = reply.GetNext()
		if q.Next == "" || tooOld {
			return &answer[runs]{out}, nil
		}
		if int64(len(out.Runs)) == in.Limit || time.Since(began) > searchTime {
			out.Next = q.Next
			return &answer[runs]{out}, nil
		}
	}
}

func (in *runsIn) query() (*pb.Query, error) {
	q := &pb.Query{All: true, Runner: in.Runner, Group: in.Group, Next: in.Next, Tags: map[string]string{}}
	for _, state := range in.State {
		q.States = append(q.States, pb.State(pb.State_value[state]))
	}
	for _, tag := range in.Tag {
		name, value, ok := strings.Cut(tag, "=")
		if !ok {
			return nil, problem(http.StatusBadRequest, "tag: %q is not name=value", tag)
		}
		q.Tags[name] = value
	}
	return q, nil
}

func runHas(r *pb.Run, text string) bool {
	if text == "" {
		return true
	}
	texts := []string{r.GetId(), r.GetName(), r.GetCommand(), r.GetRunner(), r.GetReason(), r.GetError()}
	for name, value := range r.GetTags() {
		texts = append(texts, name+"="+value)
	}
	return anyHas(texts, text)
}
