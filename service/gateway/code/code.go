// Package code runs source code for the clients of older programs: codecanvas and
// Piston. Their routes are answered as those did.
package code

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

type server struct{ *room.House }

// Routes are the room's. Piston's are there twice, as that program is often
// served below a path.
func Routes(h *room.House) []room.Route {
	g := &server{h}
	routes := []room.Route{
		{Method: "GET", Path: "/api/v1/languages", Scope: auth.ScopeCode, Handle: g.canvasLanguages},
		{Method: "POST", Path: "/api/v1/run", Scope: auth.ScopeCode, Handle: g.canvasRun},
	}
	for _, base := range []string{"/api/v2", "/api/v2/piston"} {
		routes = append(routes, []room.Route{
			{Method: "GET", Path: base + "/runtimes", Scope: auth.ScopeCode, Handle: g.pistonRuntimes},
			{Method: "POST", Path: base + "/execute", Scope: auth.ScopeCode, Handle: g.pistonExecute},
			{Method: "GET", Path: base + "/packages", Scope: auth.ScopeCode, Handle: g.pistonPackages},
			{Method: "POST", Path: base + "/packages", Scope: auth.ScopeCode, Handle: g.pistonNoPackages},
			{Method: "DELETE", Path: base + "/packages", Scope: auth.ScopeCode, Handle: g.pistonNoPackages},
			{Method: "GET", Path: base + "/connect", Scope: auth.ScopeCode, Handle: g.pistonConnect},
		}...)
	}
	return routes
}

// language is what older programs call a language of ours.
type language struct {
	ours string
	// canvas is codecanvas' name, "" where that had none; piston is Piston's.
	canvas, piston string
	// aliases that Piston's clients use.
	aliases []string
	// runtime that Piston names beside the language.
	runtime string
}

var languages = []language{
	{"python3", "python3", "python", []string{"python3", "py", "py3"}, ""},
	{"node", "nodejs", "javascript", []string{"node", "nodejs", "node-javascript", "node-js", "js"}, "node"},
	{"c++", "c++", "c++", []string{"cpp", "g++", "cxx"}, "gcc"},
	{"go", "go", "go", []string{"golang"}, ""},
	{"bash", "bash", "bash", []string{"sh", "shell"}, ""},
	{"rust", "rust", "rust", []string{"rs"}, ""},
	{"c", "", "c", []string{"gcc"}, "gcc"},
	{"java", "", "java", nil, ""},
	{"ruby", "", "ruby", []string{"rb", "ruby3"}, ""},
	{"php", "", "php", nil, ""},
	{"perl", "", "perl", []string{"pl"}, ""},
	{"lua", "", "lua", nil, ""},
}

// toolchain is a language that online runners have, and its versions.
type toolchain struct {
	language
	versions []string
}

// toolchains lists what online runners have, by Piston's name.
func (g *server) toolchains(ctx context.Context) ([]toolchain, error) {
	runners, err := g.Client.Runners(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]bool{}
	for _, r := range runners {
		if !r.Online {
			continue
		}
		for _, line := range r.Card.GetLanguages() {
			words := strings.Fields(line)
			if found[words[0]] == nil {
				found[words[0]] = map[string]bool{}
			}
			for _, version := range words[1:] {
				found[words[0]][version] = true
			}
		}
	}
	var all []toolchain
	for name, versions := range found {
		t := toolchain{language: language{ours: name, piston: name}}
		if i := slices.IndexFunc(languages, func(l language) bool { return l.ours == name }); i >= 0 {
			t.language = languages[i]
		}
		for v := range versions {
			t.versions = append(t.versions, v)
		}
		slices.Sort(t.versions)
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b toolchain) int { return strings.Compare(a.piston, b.piston) })
	return all, nil
}

// named says whether a toolchain has a name, in anybody's words.
func (t toolchain) named(name string) bool {
	return name == t.ours || name == t.canvas || name == t.piston || slices.Contains(t.aliases, name)
}

// canvasLanguages is codecanvas' list of languages.
func (g *server) canvasLanguages(w http.ResponseWriter, r *http.Request) {
	found, err := g.toolchains(r.Context())
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	names := []string{}
	for _, t := range found {
		name := t.canvas
		if name == "" {
			name = t.ours
		}
		names = append(names, name)
	}
	reply.JSON(w, http.StatusOK, map[string]any{"languages": names})
}

const (
	// maxSource bounds the body of a request to run code.
	maxSource = 1 << 20
	// maxCodeOutput is how much of each stream is kept and given back.
	maxCodeOutput = 1 << 20
	// canvasTimeout is how long a program may run for codecanvas' clients.
	canvasTimeout = 10 * time.Second
	// fullWait is how long a request waits for a place in a full fleet.
	fullWait = time.Second
)

// canvasRun runs a program for codecanvas' clients. They take error for an
// object: it must be null for a program that has ended by itself.
func (g *server) canvasRun(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Source   string `json:"source"`
		Language string `json:"language"`
	}
	text, err := reply.ReadBody(w, r, maxSource)
	if reply.IsTooLarge(err) {
		reply.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxSource))
		return
	}
	// Of several objects the last one counts.
	for d := json.NewDecoder(bytes.NewReader(text)); err == nil; {
		err = d.Decode(&body)
	}
	if !errors.Is(err, io.EOF) {
		reply.Error(w, http.StatusBadRequest, "failed to parse request body")
		return
	}
	if body.Source == "" || body.Language == "" {
		reply.Error(w, http.StatusBadRequest, `"language" and "source" fields are required`)
		return
	}
	found, err := g.toolchains(r.Context())
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	i := slices.IndexFunc(found, func(t toolchain) bool { return t.named(body.Language) })
	if i < 0 {
		reply.Error(w, http.StatusBadRequest, fmt.Sprintf("invalid language: [%s] not currently supported", body.Language))
		return
	}
	task := &pb.Task{
		Language: &pb.Language{Name: found[i].ours}, File: &pb.File{Content: []byte(body.Source)}, Timeout: canvasTimeout.String(),
	}
	done, err := g.runCode(r.Context(), task)
	if err != nil {
		g.codeError(w, err, reply.Error)
		return
	}
	answer := map[string]any{"stdout": done.run.stdout.String(), "stderr": done.run.stderr.String(), "error": nil}
	if done.compiled && done.record.GetReason() == "compile" {
		answer["stdout"], answer["stderr"] = done.compile.stdout.String(), done.compile.stderr.String()
	}
	if text := done.failure(); text != "" {
		answer["error"] = text
	}
	reply.JSON(w, http.StatusOK, answer)
}

// codeError answers for a program that could not be run.
func (g *server) codeError(w http.ResponseWriter, err error, write func(http.ResponseWriter, int, string)) {
	switch code := client.Code(err); {
	case errors.Is(err, errFull):
		w.Header().Set("Retry-After", "1")
		write(w, http.StatusTooManyRequests, err.Error())
	case code == 400, code == 403, code == 413:
		write(w, code, err.Error())
	default:
		write(w, http.StatusServiceUnavailable, err.Error())
	}
}

// errFull: no runner has a place.
var errFull = errors.New("all runners are busy: try again in a second")

// output is what one step has printed, as far as it is kept.
type output struct {
	stdout, stderr, both cutBuffer
}

// cutBuffer keeps the first bytes.
type cutBuffer struct {
	strings.Builder
	cut bool
}

func (c *cutBuffer) add(b []byte) {
	if room := maxCodeOutput - c.Len(); len(b) > room {
		b, c.cut = b[:room], true
	}
	c.Write(b)
}

// codeResult is how a program went.
type codeResult struct {
	record       *pb.Run
	compiled     bool // it had a compile step
	compile, run output
}

// failure is what the program can't tell itself: "" if it ran to its end.
func (c *codeResult) failure() string {
	run := c.record
	switch {
	case run.GetReason() == "compile":
		return "the program does not compile"
	case run.GetState() == pb.State_TIMEDOUT:
		return "timed out"
	case run.GetReason() == "oom":
		return "out of memory"
	case run.GetReason() == "output-limit", c.run.stdout.cut, c.run.stderr.cut:
		return "the output was cut: it is too long"
	case run.GetState() == pb.State_ABORTED:
		return "aborted"
	case run.GetState() == pb.State_FAILED:
		return run.GetError()
	case run.GetSignal() != "":
		return "killed by " + run.GetSignal()
	}
	return ""
}

// runCode runs a program to its end and keeps what it prints. A client that goes
// away ends its program.
func (g *server) runCode(ctx context.Context, task *pb.Task) (*codeResult, error) {
	task.Tags = map[string]string{"user": auth.CallerOf(ctx).Sub}
	if task.Tags["user"] == "" {
		task.Tags = nil
	}
	req := &pb.TaskRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.TaskSpec{Task: task}}
	done := &codeResult{}
	events := client.RunEvents{
		Accepted: func(run *pb.Run) { done.record = run },
		Record:   func(_ *pb.Run, r lines.Record) error { done.take(r); return nil },
	}
	began := time.Now()
	for {
		_, err := g.Client.Run(ctx, client.Target{}, req, events)
		full := errors.Is(err, client.ErrFull) || errors.Is(err, client.ErrNoRunners) || errors.Is(err, client.ErrBusy)
		switch {
		case ctx.Err() != nil && done.record != nil:
			_, _ = g.Client.Abort(context.WithoutCancel(ctx), done.record.GetId(), 0)
			return nil, ctx.Err()
		case full && time.Since(began) < fullWait:
			select {
			case <-time.After(fullWait / 20):
			case <-ctx.Done():
			}
			continue
		case full:
			return nil, errFull
		case err != nil:
			return nil, err
		}
		break
	}
	record, err := g.Client.Wait(ctx, done.record.GetId())
	if err != nil {
		return nil, err
	}
	done.record, done.compiled = record, record.GetCompile() != nil || record.GetReason() == "compile"
	if record.GetReason() == "compile" && done.compile.both.Len() == 0 { // an older runner doesn't mark what its compiler says
		done.compile, done.run = done.run, output{}
	}
	return done, nil
}

// take keeps one record of the output.
func (c *codeResult) take(r lines.Record) {
	if r.End != nil || r.Gap != nil {
		return
	}
	text := r.Text
	if !r.Open {
		text = append(slices.Clone(text), '\n')
	}
	into := &c.run
	if r.Step == "compile" {
		into = &c.compile
	}
	if r.Stream == lines.Stderr {
		into.stderr.add(text)
	} else {
		into.stdout.add(text)
	}
	into.both.add(text)
}
