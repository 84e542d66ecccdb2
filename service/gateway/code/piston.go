package code

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/gateway/reply"

	"github.com/Masterminds/semver/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
)

// This file answers Piston's routes (v2). Its errors are {"message":…}.

// pistonRunTimeout is what Piston allows a program by default.
const pistonRunTimeout = 3 * time.Second

type pistonRuntime struct {
	Language string   `json:"language"`
	Version  string   `json:"version"`
	Aliases  []string `json:"aliases"`
	Runtime  string   `json:"runtime,omitempty"`
}

func (g *server) pistonRuntimes(w http.ResponseWriter, r *http.Request) {
	found, err := g.toolchains(r.Context())
	if err != nil {
		reply.Message(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	all := []pistonRuntime{}
	for _, t := range found {
		for _, v := range t.versions {
			aliases := slices.Clone(t.aliases)
			if aliases == nil {
				aliases = []string{}
			}
			all = append(all, pistonRuntime{t.piston, semverText(v), aliases, t.runtime})
		}
	}
	reply.JSON(w, http.StatusOK, all)
}

// semverText is a version in three numbers, as Piston's clients expect it.
func semverText(version string) string {
	if v, err := semver.NewVersion(version); err == nil {
		return fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch())
	}
	return version
}

func (g *server) pistonPackages(w http.ResponseWriter, r *http.Request) {
	found, err := g.toolchains(r.Context())
	if err != nil {
		reply.Message(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	type pkg struct {
		Language  string `json:"language"`
		Version   string `json:"language_version"`
		Installed bool   `json:"installed"`
	}
	all := []pkg{}
	for _, t := range found {
		for _, v := range t.versions {
			all = append(all, pkg{t.piston, semverText(v), true})
		}
	}
	reply.JSON(w, http.StatusOK, all)
}

func (g *server) pistonNoPackages(w http.ResponseWriter, _ *http.Request) {
	reply.Message(w, http.StatusForbidden, "packages can't be changed here: a runner offers the toolchains of its host")
}

func (g *server) pistonConnect(w http.ResponseWriter, _ *http.Request) {
	reply.Message(w, http.StatusNotImplemented, "interactive runs are not there yet: use execute")
}

// pistonRequest is what is executed. Fields are raw where Piston names the type
// that it misses.
type pistonRequest struct {
	Language           json.RawMessage `json:"language"`
	Version            json.RawMessage `json:"version"`
	Files              json.RawMessage `json:"files"`
	Stdin              json.RawMessage `json:"stdin"`
	Args               json.RawMessage `json:"args"`
	CompileTimeout     json.RawMessage `json:"compile_timeout"`
	RunTimeout         json.RawMessage `json:"run_timeout"`
	CompileCPUTime     json.RawMessage `json:"compile_cpu_time"`
	RunCPUTime         json.RawMessage `json:"run_cpu_time"`
	CompileMemoryLimit json.RawMessage `json:"compile_memory_limit"`
	RunMemoryLimit     json.RawMessage `json:"run_memory_limit"`
}

type pistonFile struct {
	Name     string  `json:"name"`
	Content  *string `json:"content"`
	Encoding string  `json:"encoding"`
}

// pistonStage is the result of a step.
type pistonStage struct {
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	Output   string  `json:"output"`
	Code     *int32  `json:"code"`
	Signal   *string `json:"signal"`
	Message  *string `json:"message"`
	Status   *string `json:"status"`
	CPUTime  float64 `json:"cpu_time"`
	WallTime float64 `json:"wall_time"`
	Memory   int64   `json:"memory"`
}

func (g *server) pistonExecute(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || !strings.HasSuffix(kind, "/json") {
		reply.Message(w, http.StatusUnsupportedMediaType, "requests must be of type application/json")
		return
	}
	body, err := reply.ReadBody(w, r, maxSource)
	if reply.IsTooLarge(err) {
		reply.Message(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxSource))
		return
	}
	var req pistonRequest
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		reply.Message(w, http.StatusBadRequest, "invalid JSON: "+reply.DecodeError(err).Error())
		return
	}
	task, name, err := req.task()
	if err != nil {
		reply.Message(w, http.StatusBadRequest, err.Error())
		return
	}
	found, err := g.toolchains(r.Context())
	if err != nil {
		reply.Message(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	t, version := findRuntime(found, name, task.Language.GetVersion())
	if t == nil {
		reply.Message(w, http.StatusBadRequest, fmt.Sprintf("%s-%s runtime is unknown", name, task.Language.GetVersion()))
		return
	}
	task.Language.Name, task.Language.Version = t.ours, version
	done, err := g.runCode(r.Context(), task)
	if err != nil {
		g.codeError(w, err, reply.Message)
		return
	}
	answer := map[string]any{"language": t.piston, "version": semverText(version), "run": done.runStage()}
	if done.compiled {
		answer["compile"] = done.compileStage()
	}
	reply.JSON(w, http.StatusOK, answer)
}

// findRuntime picks the newest version of a language in a range.
func findRuntime(found []toolchain, name, versions string) (*toolchain, string) {
	wanted, err := semver.NewConstraint(versions)
	if err != nil {
		return nil, ""
	}
	var best *semver.Version
	var of *toolchain
	var own string
	for i := range found {
		if !found[i].named(name) {
			continue
		}
		for _, text := range found[i].versions {
			v, err := semver.NewVersion(text)
			if err != nil || !wanted.Check(v) || best != nil && !v.GreaterThan(best) {
				continue
			}
			best, of, own = v, &found[i], text
		}
	}
	return of, own
}

// task makes the task of a request; its language's version is the range yet.
func (q *pistonRequest) task() (task *pb.Task, language string, err error) {
	task = &pb.Task{}
	var version string
	if json.Unmarshal(q.Language, &language) != nil || language == "" {
		return nil, "", errors.New("language is required as a string")
	}
	if json.Unmarshal(q.Version, &version) != nil || version == "" {
		return nil, "", errors.New("version is required as a string")
	}
	task.Language = &pb.Language{Name: language, Version: version}
	if task.Files, err = q.files(); err != nil {
		return nil, "", err
	}
	if first := task.Files[0]; first.Name == "" { // then it has the name that its language gives it
		content, _ := base64.StdEncoding.DecodeString(first.Content)
		task.File, task.Files = &pb.File{Content: content}, task.Files[1:]
	}
	var stdin string
	if len(q.Stdin) > 0 && json.Unmarshal(q.Stdin, &stdin) != nil {
		return nil, "", errors.New("if specified, stdin is required to be a string")
	}
	task.Stdin = []byte(stdin)
	if len(q.Args) > 0 && string(q.Args) != `""` && json.Unmarshal(q.Args, &task.Argv) != nil { // some clients send "" for none
		return nil, "", errors.New("if specified, args is required to be an array of strings")
	}
	return task, language, q.bound(task)
}

// bound puts a request's limits on its task. The compiler's and the program's are
// apart; what the request leaves out of the compiler's is the runner's to say.
func (q *pistonRequest) bound(task *pb.Task) error {
	task.Limits = &pb.Limits{WallTime: pistonRunTimeout.String()}
	for _, limit := range []struct {
		name string
		raw  json.RawMessage
		set  func(float64)
	}{
		{"compile_memory_limit", q.CompileMemoryLimit, func(n float64) { task.Language.CompileMemoryMax = structpb.NewNumberValue(math.Floor(n)) }},
		{"run_memory_limit", q.RunMemoryLimit, func(n float64) { task.Limits.MemoryMax = structpb.NewNumberValue(math.Floor(n)) }},
		{"compile_timeout", q.CompileTimeout, func(n float64) { task.Language.CompileWallTime = milliseconds(n) }},
		{"run_timeout", q.RunTimeout, func(n float64) { task.Limits.WallTime = milliseconds(n) }},
		{"compile_cpu_time", q.CompileCPUTime, func(n float64) { task.Language.CompileCpuTime = milliseconds(n) }},
		{"run_cpu_time", q.RunCPUTime, func(n float64) { task.Limits.CpuTime = milliseconds(n) }},
	} {
		var n *float64
		if len(limit.raw) > 0 && json.Unmarshal(limit.raw, &n) != nil {
			return fmt.Errorf("If specified, %s must be a number", limit.name) //lint:ignore ST1005 Piston's words
		}
		if n != nil && *n < 0 && !strings.HasSuffix(limit.name, "memory_limit") {
			return fmt.Errorf("%s must be non-negative", limit.name)
		}
		if n != nil && *n >= 1 {
			limit.set(*n)
		}
	}
	return nil
}

// maxMilliseconds keeps a duration from overflowing; the policy has the real bound.
const maxMilliseconds = 1e12

func milliseconds(n float64) string {
	return time.Duration(min(n, maxMilliseconds) * float64(time.Millisecond)).String()
}

func (q *pistonRequest) files() ([]*pb.SourceFile, error) {
	var files []pistonFile
	if len(q.Files) == 0 || json.Unmarshal(q.Files, &files) != nil || files == nil {
		var raw []json.RawMessage
		if json.Unmarshal(q.Files, &raw) != nil || raw == nil {
			return nil, errors.New("files is required as an array")
		}
		for i, one := range raw {
			var f pistonFile
			if json.Unmarshal(one, &f) != nil {
				return nil, fmt.Errorf("files[%d].content is required as a string", i)
			}
		}
	}
	var all []*pb.SourceFile
	for i, f := range files {
		if f.Content == nil {
			return nil, fmt.Errorf("files[%d].content is required as a string", i)
		}
		content, err := decodeContent(*f.Content, f.Encoding)
		if err != nil {
			return nil, fmt.Errorf("files[%d].content is not %s: %w", i, f.Encoding, err)
		}
		if f.Name == "" && i > 0 {
			f.Name = fmt.Sprintf("file%d.code", i)
		}
		all = append(all, &pb.SourceFile{Name: f.Name, Content: base64.StdEncoding.EncodeToString(content), Encoding: "base64"})
	}
	if len(all) == 0 {
		return nil, errors.New("files must include at least one file")
	}
	return all, nil
}

func decodeContent(text, encoding string) ([]byte, error) {
	switch encoding {
	case "base64": // of either alphabet, padded or not, in lines or not
		text = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", "=", "").Replace(text)
		return base64.RawStdEncoding.DecodeString(text)
	case "hex":
		return hex.DecodeString(text)
	}
	return []byte(text), nil
}

func (o *output) stage() pistonStage {
	return pistonStage{Stdout: o.stdout.String(), Stderr: o.stderr.String(), Output: o.both.String()}
}

func text(s string) *string { return &s }

// runStage is the result of the program itself.
func (c *codeResult) runStage() pistonStage {
	if c.record.GetReason() == "compile" { // it was not run; Piston shows the compiler's result in its place
		return c.compileStage()
	}
	s, run := c.run.stage(), c.record
	s.CPUTime, s.Memory = run.GetCpuTime()*1000, run.GetPeakMemory()
	if run.GetStarted() != nil && run.GetEnded() != nil {
		s.WallTime = float64(run.GetEnded().AsTime().Sub(run.GetStarted().AsTime()).Milliseconds())
	}
	code := run.GetExitCode()
	switch {
	case run.GetState() == pb.State_TIMEDOUT:
		s.killed("TO", timedOut+" (wall clock)")
	case run.GetReason() == pb.ReasonCPULimit:
		s.killed("TO", timedOut)
	case run.GetReason() == pb.ReasonOutputLimit, c.run.stdout.cut:
		s.killed("OL", "stdout length exceeded")
	case c.run.stderr.cut:
		s.killed("EL", "stderr length exceeded")
	case run.GetReason() == pb.ReasonOOM:
		s.killed("SG", "out of memory")
	case run.GetState() != pb.State_COMPLETE:
		s.Code, s.Status, s.Message = nil, text("XX"), text(run.GetError())
	default:
		s.ended(code, run.GetSignal())
	}
	return s
}

const timedOut = "Time limit exceeded"

// killed: a limit has ended it.
func (s *pistonStage) killed(status, message string) {
	s.Code, s.Signal, s.Status, s.Message = nil, text("SIGKILL"), text(status), text(message)
}

// ended: it has ended by itself.
func (s *pistonStage) ended(code int32, signal string) {
	s.Code = &code
	switch {
	case signal != "":
		s.Code, s.Signal, s.Status, s.Message = nil, text(signal), text("SG"), text(fmt.Sprintf("Caught fatal signal %d", lines.SignalNumber(signal)))
	case code != 0:
		s.Status, s.Message = text("RE"), text(fmt.Sprintf("Exited with error status %d", code))
	}
}

// compileStage is the result of the compiler.
func (c *codeResult) compileStage() pistonStage {
	s, step := c.compile.stage(), c.record.GetCompile()
	code := step.GetExitCode()
	if step == nil {
		code = c.record.GetExitCode()
	}
	s.CPUTime, s.WallTime, s.Memory = step.GetCpuTime()*1000, step.GetWallTime()*1000, step.GetPeakMemory()
	switch step.GetReason() {
	case pb.ReasonTimeout:
		s.killed("TO", timedOut+" (wall clock)")
	case pb.ReasonCPULimit:
		s.killed("TO", timedOut)
	case pb.ReasonOutputLimit:
		s.killed("OL", "stdout length exceeded")
	case pb.ReasonOOM:
		s.killed("SG", "out of memory")
	default:
		s.ended(code, step.GetSignal())
	}
	return s
}
