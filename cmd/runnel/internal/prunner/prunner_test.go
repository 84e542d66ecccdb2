//go:build unix

package prunner_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

func TestServes(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"pipelines.yml": pipelines, "deep/er/pipelines.yaml": "pipelines:\n  deep:\n    tasks:\n      a: {script: ['true']}\n",
		"node_modules/x/pipelines.yml": "pipelines:\n  not:\n    tasks:\n      a: {script: ['true']}\n",
		".env":                         "FROM_ENV=env\nFROM_LOCAL=env\n", ".env.local": "FROM_LOCAL=\"local value\"\n",
	})
	p.env = append(p.env, "PRUNNER_JWT_SECRET="+secret)
	s := p.serve()
	if code, text := s.do("GET", "/pipelines", ""); code != 200 || strings.Count(text, `"pipeline"`) != 4 || !strings.Contains(text, `"deep"`) {
		t.Errorf("pipelines: %d %s", code, text)
	}
	id := s.schedule("env")
	s.completed(id)
	dir, err := filepath.EvalSymlinks(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(map[string]string{"stdout": dir + "\ninherited env local value []\n", "stderr": ""})
	var got, wanted map[string]string
	_, text := s.do("GET", "/job/logs?id="+id+"&task=a", "")
	_ = json.Unmarshal([]byte(text), &got)
	_ = json.Unmarshal(want, &wanted)
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		t.Errorf("logs: %s, want %s", text, want)
	}
	if _, err := os.Stat(filepath.Join(p.dir, ".prunner.yml")); err == nil {
		t.Error("a configuration file was made, and the secret was given")
	}

	p.write("pipelines.yml", pipelines+"  new:\n    tasks:\n      a: {script: ['true']}\n")
	s.signal(syscall.SIGUSR1)
	rig.EventuallyIn(t, time.Minute, "the new pipeline is there", func() bool { _, text := s.do("GET", "/pipelines", ""); return strings.Contains(text, `"new"`) })

	// SIGINT: what runs ends by itself, what waits is canceled, nothing new is taken.
	running, waiting := s.schedule("gated"), s.schedule("gated")
	rig.EventuallyIn(t, time.Minute, "the first runs", func() bool { return s.job(running).Start != nil })
	s.signal(os.Interrupt)
	rig.EventuallyIn(t, time.Minute, "what waits is canceled", func() bool { return s.job(waiting).Canceled })
	if code, text := s.do("POST", "/pipelines/schedule", `{"pipeline":"env"}`); code != 503 || text != `{"error":"Server is shutting down"}` {
		t.Errorf("a job while it ends: %d %s", code, text)
	}
	if j := s.job(running); j.Completed {
		t.Errorf("the running job: %+v", j)
	}
	p.write("go", "")
	if code := s.exits(); code != 0 {
		t.Errorf("exit %d", code)
	}

	// Another start has the jobs, and SIGTERM cancels what runs.
	s = p.serve("--data", ".prunner", "--pattern", "*.yml")
	if j := s.job(running); !j.Completed || j.Canceled || j.Errored || j.Tasks[0].Status != "done" {
		t.Errorf("the job that ran at SIGINT: %+v", j)
	}
	if _, text := s.do("GET", "/pipelines", ""); strings.Contains(text, `"deep"`) {
		t.Errorf("with another pattern: %s", text)
	}
	slow := s.schedule("slow")
	rig.EventuallyIn(t, time.Minute, "it runs", func() bool { return s.job(slow).Start != nil })
	began := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.exits(); code != 0 || time.Since(began) > 45*time.Second {
		t.Errorf("exit %d after %v", code, time.Since(began))
	}
	s = p.serve()
	if j := s.job(slow); !j.Completed || !j.Canceled || j.Tasks[0].Status != "canceled" {
		t.Errorf("the job that ran at SIGTERM: %+v", j)
	}
}

// A SIGTERM after a SIGINT ends the waiting.
func TestTermAfterInt(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"pipelines.yml": pipelines})
	s := p.serve("-watch", "-poll-interval=1s", "--enable-profiling", "-v", "--disable-ansi")
	for header, want := range map[string]int{"X-Y: z": 200, "X-Forwarded-For: 1.2.3.4": 403, "Origin: http://evil.example": 403, "Host: evil.example": 403} {
		req, _ := http.NewRequest("GET", s.url+"/debug/pprof/cmdline", nil)
		name, value, _ := strings.Cut(header, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("profiles with %s: %d, want %d", header, res.StatusCode, want)
		}
	}
	p.write("sub/pipelines.yml", "pipelines:\n  watched:\n    tasks:\n      a: {script: ['true']}\n")
	rig.EventuallyIn(t, time.Minute, "the new file is read", func() bool { _, text := s.do("GET", "/pipelines", ""); return strings.Contains(text, `"watched"`) })
	slow := s.schedule("slow")
	rig.EventuallyIn(t, time.Minute, "it runs", func() bool { return s.job(slow).Start != nil })
	s.signal(os.Interrupt)
	rig.EventuallyIn(t, time.Minute, "it is ending", func() bool { return strings.Contains(s.said(), "waiting until running jobs have ended") })
	s.signal(syscall.SIGTERM)
	if code := s.exits(); code != 0 {
		t.Errorf("exit %d", code)
	}
	info, err := os.Stat(filepath.Join(p.dir, ".prunner.yml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("configuration: %v %v", info, err)
	}
}

// An old data directory is read once; nothing in it is changed.
func TestOldData(t *testing.T) {
	t.Parallel()
	const id = "6f1c1b9e-52d0-4a5e-9c3e-0a1b2c3d4e5f"
	p := newPlace(t, map[string]string{
		"pipelines.yml": pipelines,
		"old/data.json": `{"Jobs":[{"ID":"` + id + `","Pipeline":"gone","Completed":true,"Created":"2021-08-05T10:00:00.5+02:00","Start":"2021-08-05T10:00:01+02:00",` +
			`"End":"2021-08-05T10:00:05+02:00","User":"admin","Tasks":[{"Name":"a","Script":["x"],"Status":"done","Start":"2021-08-05T10:00:01+02:00","End":"2021-08-05T10:00:05+02:00"}]}]}`,
		"old/logs/" + id + "/a-stdout.log": "old output\nwithout an end", "old/logs/" + id + "/a-stderr.log": "",
	})
	before := p.contents("old")
	p.env = append(p.env, "PRUNNER_DATA=old", "PRUNNER_ENV_FILES=")
	for range 2 {
		s := p.serve()
		j := s.job(id)
		if !j.Completed || j.Canceled || j.User != "admin" || j.Pipeline != "gone" || *j.End != "2021-08-05T08:00:05Z" || j.Created != "2021-08-05T08:00:00Z" || j.Tasks[0].Status != "done" {
			t.Errorf("%+v", j)
		}
		if _, text := s.do("GET", "/job/logs?id="+id+"&task=a", ""); text != `{"stdout":"old output\nwithout an end","stderr":""}` {
			t.Errorf("logs: %s", text)
		}
		s.signal(syscall.SIGTERM)
		if code := s.exits(); code != 0 {
			t.Errorf("exit %d", code)
		}
		after := p.contents("old")
		for name, text := range before {
			if after[name] != text {
				t.Errorf("%s was changed", name)
			}
		}
	}
}

// contents are the files below a directory.
func (p *place) contents(dir string) map[string]string {
	all := map[string]string{}
	_ = fs.WalkDir(os.DirFS(p.dir), dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			text, _ := os.ReadFile(filepath.Join(p.dir, name))
			all[name] = string(text)
		}
		return nil
	})
	return all
}

func TestCannotStart(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	p := newPlace(t, map[string]string{
		"short.yml": "jwt_secret: short\n", "none.yml": "other: x\n", "broken.yml": "jwt_secret: [\n", "bad/pipelines.yml": "pipelines:\n  x:\n    tasks: 7\n",
	})
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--address", busy.Addr().String(), "--jwt-secret", secret}, "address already in use"},
		{[]string{"--jwt-secret", "short"}, "cannot use --jwt-secret: it has 5 characters and must have at least 16"},
		{[]string{"--config", "short.yml"}, "cannot use the jwt_secret in short.yml: it has 5 characters"},
		{[]string{"--config", "none.yml"}, "it has no jwt_secret"},
		{[]string{"--config", "broken.yml"}, "cannot use configuration broken.yml"},
		{[]string{"--config", "no/such/dir.yml"}, "cannot write configuration no/such/dir.yml: no such file or directory"},
		{[]string{"--nosuch"}, "unknown flag: --nosuch"},
		{[]string{"nosuch"}, "unknown command"},
		{[]string{"--poll-interval", "x"}, "poll-interval"},
		{[]string{"--path", "bad", "--address", "127.0.0.1:0", "--jwt-secret", secret}, "pipelines.yml"},
	} {
		code, _, text := p.run(append([]string{"prunner"}, c.args...)...)
		if code != 1 || !strings.Contains(text, c.says) {
			t.Errorf("%v: exit %d %s; want 1 and %q", c.args, code, text, c.says)
		}
	}
	p.env = append(p.env, "PRUNNER_JWT_SECRET=short")
	if code, _, text := p.run("prunner"); code != 1 || !strings.Contains(text, "must have at least 16") {
		t.Errorf("a short secret by the environment: %d %s", code, text)
	}
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	_, version, _ := p.run("prunner", "version")
	if !regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\S*\n$`).MatchString(version) {
		t.Errorf("version: %q", version)
	}
	if code, again, text := p.run("runnel", "gateway", "--prunner", "version"); code != 0 || again != version {
		t.Errorf("runnel gateway --prunner version: %d %q %s", code, again, text)
	}
	for _, help := range [][]string{{"prunner", "--help"}, {"prunner", "-help"}, {"prunner", "help"}, {"runnel", "gateway", "--prunner", "--help"}} {
		code, text, _ := p.run(help...)
		for _, flag := range []string{"--path", "--pattern", "--data", "--config", "--jwt-secret", "--address", "--env-files", "--watch", "--poll-interval", "--verbose", "--disable-ansi", "--enable-profiling"} {
			if code != 0 || !strings.Contains(text, flag) {
				t.Errorf("%v: %d, without %s:\n%s", help, code, flag, text)
				break
			}
		}
	}
	code, text, _ := p.run("prunner", "--config", "made.yml", "debug")
	if code != 0 || !regexp.MustCompile(`Authorization: Bearer ey\S+\n$`).MatchString(text) {
		t.Errorf("debug: %d %q", code, text)
	}
	made := p.contents(".")["made.yml"]
	if !regexp.MustCompile(`^jwt_secret: \S{32}\n$`).MatchString(made) {
		t.Errorf("made.yml: %q", made)
	}
}
