// Package prunner answers the routes of the program of that name. Its clients
// rely on the exact shapes: start and end are there and null until set, tasks is
// never null, and every name in dependsOn is a task of the job.
package prunner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
	"github.com/runnel-io/runnel/service/pipeline/records"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

type server struct {
	*room.House
	encoded encodedJobs
}

// Routes are the room's.
func Routes(h *room.House) []room.Route {
	g := &server{House: h}
	return []room.Route{
		{Method: "GET", Path: "/pipelines", Scope: auth.ScopeRead, Handle: g.listPipelines},
		{Method: "GET", Path: "/pipelines/{$}", Scope: auth.ScopeRead, Handle: g.listPipelines},
		{Method: "GET", Path: "/pipelines/jobs", Scope: auth.ScopeRead, Handle: g.listJobs},
		{Method: "POST", Path: "/pipelines/schedule", Scope: auth.ScopeJobs, Handle: g.scheduleJob},
		{Method: "GET", Path: "/job/detail", Scope: auth.ScopeRead, Handle: g.jobDetail},
		{Method: "GET", Path: "/job/logs", Scope: auth.ScopeRead, Handle: g.jobLogs},
		{Method: "GET", Path: "/job/logs/stream", Scope: auth.ScopeRead, Handle: g.jobLogEvents},
		{Method: "POST", Path: "/job/cancel", Scope: auth.ScopeJobs, Handle: g.cancelJob},
	}
}

type jobJSON struct {
	ID        string          `json:"id"`
	Pipeline  string          `json:"pipeline"`
	Tasks     []taskJSON      `json:"tasks"`
	Completed bool            `json:"completed"`
	Canceled  bool            `json:"canceled"`
	Errored   bool            `json:"errored"`
	Created   *string         `json:"created"`
	Start     *string         `json:"start"`
	End       *string         `json:"end"`
	LastError string          `json:"lastError,omitempty"`
	Variables json.RawMessage `json:"variables,omitempty"`
	User      string          `json:"user"`
}

type taskJSON struct {
	Name      string   `json:"name"`
	DependsOn []string `json:"dependsOn,omitempty"`
	Status    string   `json:"status"`
	Start     *string  `json:"start"`
	End       *string  `json:"end"`
	Skipped   bool     `json:"skipped"`
	ExitCode  int32    `json:"exitCode"`
	Errored   bool     `json:"errored"`
	Error     string   `json:"error,omitempty"`
}

// second is a time in whole seconds, UTC, or null.
func second(t *timestamppb.Timestamp) *string {
	if t == nil {
		return nil
	}
	text := t.AsTime().UTC().Format(time.RFC3339)
	return &text
}

func jobOf(job *pb.Job) jobJSON {
	out := jobJSON{
		ID: job.GetId(), Pipeline: job.GetPipeline(), Tasks: []taskJSON{}, Completed: job.GetCompleted(), Canceled: job.GetCanceled(),
		Errored: job.GetErrored(), Created: second(job.GetCreated()), Start: second(job.GetStart()), End: second(job.GetEnd()),
		LastError: job.GetLastError(), User: job.GetUser(),
	}
	if v := job.GetVariablesJson(); v != "" && v != "{}" {
		out.Variables = json.RawMessage(v)
	}
	for _, t := range job.GetTasks() {
		out.Tasks = append(out.Tasks, taskJSON{
			Name: t.GetName(), DependsOn: t.GetDependsOn(), Status: t.GetStatus(), Start: second(t.GetStart()), End: second(t.GetEnd()),
			Skipped: t.GetStatus() == string(graph.TaskSkipped), ExitCode: t.GetExitCode(),
			Errored: t.GetStatus() == string(graph.TaskError), Error: t.GetError(),
		})
	}
	return out
}

// encodedJobs keeps jobs as JSON by the revision of their records, so that a
// list of a thousand is put together from what is there.
type encodedJobs struct {
	mu   sync.Mutex
	jobs map[string]encodedJob
}

type encodedJob struct {
	rev  uint64
	body []byte
}

// list is the JSON of a list of jobs; what is not in it is forgotten if whole.
func (e *encodedJobs) list(jobs []records.JobAt, whole bool) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	keep := make(map[string]encodedJob, len(jobs))
	var out bytes.Buffer
	out.WriteByte('[')
	for i, j := range jobs {
		id := j.Job.GetId()
		have, ok := e.jobs[id]
		if !ok || have.rev != j.Rev {
			body, err := json.Marshal(jobOf(j.Job))
			if err != nil {
				return nil, err
			}
			have = encodedJob{j.Rev, body}
		}
		keep[id] = have
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(have.body)
	}
	out.WriteByte(']')
	if whole {
		e.jobs = keep
	}
	return out.Bytes(), nil
}

type pipelineJSON struct {
	Pipeline    string `json:"pipeline"`
	Schedulable bool   `json:"schedulable"`
	Running     bool   `json:"running"`
}

func (g *server) pipelinesJSON() ([]byte, error) {
	all := []pipelineJSON{}
	for _, p := range g.Mirror.Pipelines() {
		all = append(all, pipelineJSON{p.GetName(), p.GetSchedulable(), p.GetRunning()})
	}
	return json.Marshal(all)
}

func (g *server) listPipelines(w http.ResponseWriter, r *http.Request) {
	if err := g.Synced(r.Context()); err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	reply.Tagged(w, r, "p"+g.Mirror.Revision(), func() ([]byte, error) {
		pipelines, err := g.pipelinesJSON()
		return fmt.Appendf(nil, `{"pipelines":%s}`, pipelines), err
	})
}

// recentJobs is how many ended jobs a list without a limit has.
const recentJobs = 1000

func (g *server) listJobs(w http.ResponseWriter, r *http.Request) {
	if err := g.Synced(r.Context()); err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	q := r.URL.Query()
	limit, err := limitOf(q)
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	paged := q.Has("limit") || q.Has("next") || q.Get("pipeline") != ""
	tag := "j" + g.Mirror.Revision()
	if paged {
		tag += "-" + url.QueryEscape(q.Encode())
	}
	var jobs []records.JobAt
	var next string
	if paged {
		if jobs, next, err = g.Mirror.Page(r.Context(), q.Get("pipeline"), q.Get("next"), limit); err != nil {
			reply.Error(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	reply.Tagged(w, r, tag, func() ([]byte, error) {
		if !paged {
			if jobs, err = g.Mirror.Jobs(r.Context(), recentJobs); err != nil {
				return nil, err
			}
		}
		list, err := g.encoded.list(jobs, !paged)
		if err != nil {
			return nil, err
		}
		pipelines, err := g.pipelinesJSON()
		if err != nil {
			return nil, err
		}
		body := fmt.Appendf(make([]byte, 0, len(list)+len(pipelines)+100), `{"pipelines":%s,"jobs":%s`, pipelines, list)
		if next != "" {
			body = fmt.Appendf(body, `,"next":%q`, next)
		}
		return append(body, '}'), nil
	})
}

func limitOf(q url.Values) (int, error) {
	if !q.Has("limit") {
		return recentJobs, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > recentJobs {
		return 0, fmt.Errorf("invalid limit %q: it is 1 to %d", q.Get("limit"), recentJobs)
	}
	return n, nil
}

// maxBody bounds what a request may send.
const maxBody = 1 << 20

// scheduleJob takes the body whatever its Content-Type says.
func (g *server) scheduleJob(w http.ResponseWriter, r *http.Request) {
	if g.Stopping.Load() {
		reply.Error(w, http.StatusServiceUnavailable, "Server is shutting down")
		return
	}
	var body struct {
		Pipeline       string          `json:"pipeline"`
		Variables      json.RawMessage `json:"variables"`
		QueuePartition string          `json:"queuePartition"`
	}
	text, err := reply.ReadBody(w, r, maxBody)
	switch {
	case reply.IsTooLarge(err):
		reply.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("Error decoding JSON: the body has more than %d bytes", maxBody))
		return
	case err == nil:
		err = json.NewDecoder(bytes.NewReader(text)).Decode(&body)
	}
	var vars map[string]any
	if err == nil {
		vars, err = variablesOf(body.Variables)
	}
	if err != nil {
		reply.Error(w, http.StatusBadRequest, "Error decoding JSON: "+reply.DecodeError(err).Error())
		return
	}
	if body.Pipeline == "" {
		reply.Error(w, http.StatusBadRequest, `Error scheduling pipeline: pipeline "" is not defined`)
		return
	}
	who := auth.CallerOf(r.Context())
	job, err := g.Client.Schedule(r.Context(), body.Pipeline, client.ScheduleOptions{
		Variables: vars, User: who.Sub, Partition: body.QueuePartition,
	})
	if err != nil {
		code, wrong := http.StatusBadRequest, (*pb.InvalidError)(nil)
		if client.Code(err) >= 500 || client.Code(err) == 0 && !errors.Is(err, client.ErrInvalid) && !errors.As(err, &wrong) {
			code = http.StatusServiceUnavailable
		}
		reply.Error(w, code, "Error scheduling pipeline: "+err.Error())
		return
	}
	g.Log.Info("a job was scheduled over HTTP", "job", job.GetId(), "pipeline", body.Pipeline, "sub", who.Sub)
	// What this gateway has accepted, its next list shows.
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	g.Mirror.WaitFor(ctx, job.GetId())
	reply.JSON(w, http.StatusAccepted, map[string]string{"jobId": job.GetId()})
}

// variablesOf reads a job's variables. PHP writes an empty mapping as an empty
// list, and lists as objects with the keys "0", "1" and so on.
func variablesOf(text json.RawMessage) (map[string]any, error) {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return nil, nil
	}
	var list []any
	switch {
	case json.Unmarshal(trimmed, &list) == nil && len(list) == 0:
		return nil, nil
	case trimmed[0] != '{':
		return nil, errors.New("variables: an object is expected")
	}
	return definition.ReadVariables(trimmed)
}

// parseID reads a UUID in any usual spelling: with hyphens or without, in
// braces, after urn:uuid:, in capitals.
func parseID(text string) (uuid.UUID, error) {
	const urn = "urn:uuid:"
	switch n := len(text); {
	case n > len(urn) && strings.EqualFold(text[:len(urn)], urn):
		text = text[len(urn):]
	case n > 2 && text[0] == '{' && text[n-1] == '}':
		text = text[1 : n-1]
	}
	if len(text) != 32 && len(text) != 36 { // uuid.Parse would take anything for braces
		return uuid.Nil, errors.New("invalid UUID")
	}
	return uuid.Parse(text)
}

// jobIn finds the job that a request names.
func (g *server) jobIn(w http.ResponseWriter, r *http.Request) *pb.Job {
	id, err := parseID(r.URL.Query().Get("id"))
	if err != nil {
		reply.Error(w, http.StatusBadRequest, "Invalid job id")
		return nil
	}
	job, err := g.Job(r.Context(), id.String())
	switch {
	case errors.Is(err, client.ErrUnknownJob):
		reply.Error(w, http.StatusNotFound, "Job not found")
		return nil
	case err != nil:
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return nil
	}
	return job
}

func (g *server) jobDetail(w http.ResponseWriter, r *http.Request) {
	if job := g.jobIn(w, r); job != nil {
		reply.JSON(w, http.StatusOK, jobOf(job))
	}
}

func (g *server) cancelJob(w http.ResponseWriter, r *http.Request) {
	job := g.jobIn(w, r)
	if job == nil {
		return
	}
	who := auth.CallerOf(r.Context())
	if _, err := g.Client.Cancel(r.Context(), job.GetId(), client.CancelOptions{User: who.Sub, Reason: "canceled over HTTP"}); err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	g.Log.Info("a job was canceled over HTTP", "job", job.GetId(), "sub", who.Sub)
	reply.JSON(w, http.StatusOK, true)
}
