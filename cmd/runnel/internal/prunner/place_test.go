//go:build unix

package prunner_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/commands"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
)

// The test binary is the command when it is called so. Whatever it is called again
// for, it must not be to test: that would never end.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	glance.HelperMain()
	if !strings.HasSuffix(os.Args[0], ".test") {
		commands.Main()
	}
	os.Exit(m.Run())
}

const secret = "a secret of the old program"

// place is a directory to call the program in.
type place struct {
	t   *testing.T
	dir string
	env []string
}

func newPlace(t *testing.T, files map[string]string) *place {
	p := &place{t: t, dir: t.TempDir()}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "TMPDIR"} {
		dir := filepath.Join(p.dir, ".own", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p.env = append(p.env, name+"="+dir)
	}
	p.env = append(p.env, "PATH="+os.Getenv("PATH"), "SHELL_VARIABLE=inherited")
	for name, text := range files {
		p.write(name, text)
	}
	return p
}

func (p *place) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) command(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	return &exec.Cmd{Path: exe, Args: args, Dir: p.dir, Env: p.env}
}

// run runs the program to its end.
func (p *place) run(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	cmd := p.command(args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		p.t.Fatal(e)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// server is the program while it serves.
type server struct {
	*place
	cmd   *exec.Cmd
	url   string
	token string
	mu    sync.Mutex
	log   strings.Builder
	ended chan struct{}
}

func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// listens is where it says that it listens, once it does.
var listens = regexp.MustCompile(`health and metrics on (http://127\.0\.0\.1:[0-9]+)`)

// serve starts the program and waits until it takes jobs.
func (p *place) serve(args ...string) *server {
	p.t.Helper()
	s := &server{place: p, ended: make(chan struct{})}
	s.cmd = p.command(append([]string{"prunner", "--address", "127.0.0.1:0"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { defer close(s.ended); _ = s.cmd.Wait() }()
	p.t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.ended
		if p.t.Failed() {
			p.t.Log(s.said())
		}
	})
	rig.EventuallyIn(p.t, time.Minute, "it is ready", func() bool {
		select {
		case <-s.ended:
			p.t.Fatalf("it ended: %s", s.said())
		default:
		}
		found := listens.FindStringSubmatch(s.said())
		if found == nil {
			return false
		}
		s.url = found[1]
		res, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
	p.env = append(p.env, "MINIMAL_OUTPUT=1")
	code, token, text := p.run("prunner", "debug")
	if code != 0 || !strings.HasPrefix(token, "Bearer ey") {
		p.t.Fatalf("debug: %d %q %s", code, token, text)
	}
	s.token = token
	return s
}

func (s *server) do(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", s.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func (s *server) schedule(pipeline string) string {
	s.t.Helper()
	code, text := s.do("POST", "/pipelines/schedule", `{"pipeline":"`+pipeline+`","variables":{}}`)
	var reply struct{ JobID string }
	if err := json.Unmarshal([]byte(text), &reply); err != nil || code != 202 {
		s.t.Fatalf("schedule %s: %d %s", pipeline, code, text)
	}
	return reply.JobID
}

type job struct {
	ID, Pipeline                 string
	Completed, Canceled, Errored bool
	Created, User, LastError     string
	Start, End                   *string
	Tasks                        []struct {
		Name, Status string
		DependsOn    []string
		Start, End   *string
		ExitCode     int
	}
}

func (s *server) job(id string) (j job) {
	s.t.Helper()
	code, text := s.do("GET", "/job/detail?id="+id, "")
	if err := json.Unmarshal([]byte(text), &j); err != nil || code != 200 {
		s.t.Fatalf("job %s: %d %s", id, code, text)
	}
	return j
}

func (s *server) completed(id string) (j job) {
	s.t.Helper()
	rig.EventuallyIn(s.t, time.Minute, "job "+id+" completes", func() bool { j = s.job(id); return j.Completed })
	return j
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// exits waits for the end and gives its code.
func (s *server) exits() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		s.t.Fatal("it does not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

const pipelines = `pipelines:
  env:
    tasks:
      a: {script: ['pwd; echo "$SHELL_VARIABLE $FROM_ENV $FROM_LOCAL [$PRUNNER_JWT_SECRET]"']}
  gated:
    queue_limit: 5
    tasks:
      a: {script: ['until [ -e go ]; do sleep 0.05; done; echo went']}
  slow:
    tasks:
      a: {script: [sleep 1000]}
`
