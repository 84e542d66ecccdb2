package openapi

import (
	"encoding/json"
	"net/http"
)

const (
	plainText = "text/plain"
	events    = "text/event-stream"
)

// plain are the routes that plain handlers serve. Those below /api/v2 are below
// /api/v2/piston as well.
var plain = map[string]route{
	"GET /healthz":      {summary: "Whether the process lives", reply: health{}},
	"GET /readyz":       {summary: "Whether it takes work", reply: health{}},
	"GET /metrics":      {summary: "Metrics for Prometheus", reply: plainText},
	"GET /openapi.json": {summary: "This document", reply: map[string]any{}},

	"GET /signin":    {summary: "Sign in by a link that is good once; a page asks for a token otherwise", query: "code next", reply: "text/html"},
	"POST /signin":   {summary: "Sign in by a token or a code, for a cookie", body: signIn{}, reply: whoami{}},
	"POST /signout":  {summary: "Give the cookie back", status: http.StatusNoContent},
	"POST /mcp":      {summary: "Model Context Protocol: the fleet as tools for agents", body: map[string]any{}, reply: events},
	"GET /api/v1/me": {summary: "Who you are, and what you may do", reply: whoami{}},

	"GET /api/v1/runs/{id}/log":        {summary: "A run's output as text", query: "stream from tail", reply: plainText},
	"GET /api/v1/runs/{id}/lines":      {summary: "A log's lines by their numbers", query: "from tail limit whole", reply: map[string]any{}},
	"GET /api/v1/runs/{id}/events":     {summary: "A run's output as events", reply: events},
	"GET /api/v1/runs/{id}/log/search": {summary: "Where a text is in a run's output: lines of JSON as they are found", query: "q* regex case from limit", reply: "application/x-ndjson"},
	"GET /api/v1/events":               {summary: "One stream of all that changes: topics are fleet, runs, jobs, job:ID, queue, schedules and log:ID", query: "topics* last", reply: events},

	"GET /pipelines":           {summary: "The pipelines (prunner)", reply: oldPipelines{}},
	"GET /pipelines/":          {summary: "The pipelines (prunner)", reply: oldPipelines{}},
	"GET /pipelines/jobs":      {summary: "Jobs, newest first (prunner)", query: "limit pipeline next", reply: oldJobs{}},
	"POST /pipelines/schedule": {summary: "Start a job (prunner)", body: oldSchedule{}, reply: oldScheduled{}, status: http.StatusAccepted},
	"GET /job/detail":          {summary: "A job (prunner)", query: "id*", reply: oldJob{}},
	"GET /job/logs":            {summary: "A task's output (prunner); with stream, as text", query: "id* task* tail stream", reply: oldLogs{}},
	"GET /job/logs/stream":     {summary: "A task's output as events", query: "id* task*", reply: events},
	"POST /job/cancel":         {summary: "Cancel a job (prunner)", query: "id*", reply: true},

	"GET /api/v1/languages": {summary: "Languages that online runners have (codecanvas)", reply: canvasLanguages{}},
	"POST /api/v1/run":      {summary: "Run source code (codecanvas)", body: canvasRun{}, reply: canvasResult{}},

	"GET /api/v2/runtimes":    {summary: "Languages and versions (Piston)", reply: []pistonRuntime{}},
	"POST /api/v2/execute":    {summary: "Run source code (Piston)", body: pistonExecute{}, reply: pistonResult{}},
	"GET /api/v2/packages":    {summary: "What there is (Piston)", reply: []pistonPackage{}},
	"POST /api/v2/packages":   {summary: "Refused: languages are the hosts' own (Piston)", reply: pistonProblem{}, status: http.StatusForbidden},
	"DELETE /api/v2/packages": {summary: "Refused: languages are the hosts' own (Piston)", reply: pistonProblem{}, status: http.StatusForbidden},
	"GET /api/v2/connect":     {summary: "Interactive runs: not yet (Piston)", reply: pistonProblem{}, status: http.StatusNotImplemented},
}

// health is a gateway's, or that of the runner beside it.
type health struct {
	Status string `json:"status,omitempty"`
	Runner string `json:"runner,omitempty"`
	State  string `json:"state,omitempty"`
}

type signIn struct {
	Token string `json:"token,omitempty"`
	Code  string `json:"code,omitempty"`
}

type whoami struct {
	Sub    string   `json:"sub"`
	Scopes []string `json:"scopes" nullable:"false"`
	Until  *string  `json:"until" format:"date-time"`
	Fleet  string   `json:"fleet"`

	Version string `json:"version" doc:"of the gateway"`
}

type oldPipeline struct {
	Pipeline    string `json:"pipeline"`
	Schedulable bool   `json:"schedulable"`
	Running     bool   `json:"running"`
}

type oldPipelines struct {
	Pipelines []oldPipeline `json:"pipelines" nullable:"false"`
}

type oldJobs struct {
	Pipelines []oldPipeline `json:"pipelines" nullable:"false"`
	Jobs      []oldJob      `json:"jobs" nullable:"false"`
	Next      string        `json:"next,omitempty"`
}

type oldJob struct {
	ID        string         `json:"id" format:"uuid"`
	Pipeline  string         `json:"pipeline"`
	Tasks     []oldTask      `json:"tasks" nullable:"false"`
	Completed bool           `json:"completed"`
	Canceled  bool           `json:"canceled"`
	Errored   bool           `json:"errored"`
	Created   *string        `json:"created"`
	Start     *string        `json:"start" doc:"null when unset"`
	End       *string        `json:"end" doc:"null when unset"`
	LastError string         `json:"lastError,omitempty"`
	Variables map[string]any `json:"variables,omitempty"`
	User      string         `json:"user"`
}

type oldTask struct {
	Name      string   `json:"name"`
	DependsOn []string `json:"dependsOn,omitempty"`
	Status    string   `json:"status" enum:"waiting,running,skipped,done,error,canceled"`
	Start     *string  `json:"start"`
	End       *string  `json:"end"`
	Skipped   bool     `json:"skipped"`
	ExitCode  int      `json:"exitCode"`
	Errored   bool     `json:"errored"`
	Error     string   `json:"error,omitempty"`
}

type oldSchedule struct {
	Pipeline  string          `json:"pipeline"`
	Variables json.RawMessage `json:"variables,omitempty" doc:"an object; a list in it may be an object with the keys 0, 1 and so on"`
	Partition string          `json:"queuePartition,omitempty"`
}

type oldScheduled struct {
	JobID string `json:"jobId" format:"uuid"`
}

type oldLogs struct {
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

type canvasLanguages struct {
	Languages []string `json:"languages" nullable:"false"`
}

type canvasRun struct {
	Source   string `json:"source"`
	Language string `json:"language"`
}

type canvasResult struct {
	Stdout string  `json:"stdout"`
	Stderr string  `json:"stderr"`
	Error  *string `json:"error" doc:"null when the program ran to its end"`
}

type pistonRuntime struct {
	Language string   `json:"language"`
	Version  string   `json:"version"`
	Aliases  []string `json:"aliases" nullable:"false"`
	Runtime  string   `json:"runtime,omitempty"`
}

type pistonPackage struct {
	Language  string `json:"language"`
	Version   string `json:"language_version"`
	Installed bool   `json:"installed"`
}

type pistonFile struct {
	Name     string `json:"name,omitempty"`
	Content  string `json:"content"`
	Encoding string `json:"encoding,omitempty" enum:"utf8,base64,hex"`
}

type pistonExecute struct {
	Language           string       `json:"language"`
	Version            string       `json:"version" doc:"a semver range"`
	Files              []pistonFile `json:"files" nullable:"false"`
	Stdin              string       `json:"stdin,omitempty"`
	Args               []string     `json:"args,omitempty"`
	CompileTimeout     float64      `json:"compile_timeout,omitempty" doc:"milliseconds"`
	RunTimeout         float64      `json:"run_timeout,omitempty" doc:"milliseconds"`
	CompileCPUTime     float64      `json:"compile_cpu_time,omitempty" doc:"milliseconds"`
	RunCPUTime         float64      `json:"run_cpu_time,omitempty" doc:"milliseconds"`
	CompileMemoryLimit float64      `json:"compile_memory_limit,omitempty" doc:"bytes"`
	RunMemoryLimit     float64      `json:"run_memory_limit,omitempty" doc:"bytes"`
}

type pistonStage struct {
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	Output   string  `json:"output"`
	Code     *int    `json:"code"`
	Signal   *string `json:"signal"`
	Message  *string `json:"message"`
	Status   *string `json:"status"`
	CPUTime  float64 `json:"cpu_time"`
	WallTime float64 `json:"wall_time"`
	Memory   int     `json:"memory"`
}

type pistonResult struct {
	Language string       `json:"language"`
	Version  string       `json:"version"`
	Run      pistonStage  `json:"run"`
	Compile  *pistonStage `json:"compile,omitempty"`
}
