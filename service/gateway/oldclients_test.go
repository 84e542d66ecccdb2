package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// keysOf are the members of an object in the order of the text.
func keysOf(t *testing.T, text string) (keys []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	depth, wantKey := 0, false
	for {
		token, err := d.Token()
		if err != nil {
			return keys
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			wantKey = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			wantKey = depth == 1
			continue
		}
		if depth == 1 {
			if wantKey {
				keys = append(keys, token.(string))
			}
			wantKey = !wantKey
		}
	}
}

// A job before it has started, while it runs and after its end, byte by byte in
// what a strict client looks at.
func TestShapeOfAJob(t *testing.T) {
	w := open(t)
	running, waiting := w.schedule(`{"pipeline":"slow"}`), ""
	w.apply("pipelines:\n  one:\n    tasks:\n      b: {script: [sleep 100], depends_on: [a]}\n      a: {script: [sleep 100]}\n")
	w.schedule(`{"pipeline":"one"}`)
	waiting = w.schedule(`{"pipeline":"one","variables":{"a":{"0":"x","1":{"0":1.5,"1":true,"2":null}},"b":{}}}`)
	res, text := w.do("GET", "/job/detail?id="+waiting, "", "Authorization: Bearer "+token(t, auth.ScopeRead))
	want := `{"id":"` + waiting + `","pipeline":"one","tasks":[` +
		`{"name":"a","status":"waiting","start":null,"end":null,"skipped":false,"exitCode":0,"errored":false},` +
		`{"name":"b","dependsOn":["a"],"status":"waiting","start":null,"end":null,"skipped":false,"exitCode":0,"errored":false}],` +
		`"completed":false,"canceled":false,"errored":false,"created":"CREATED","start":null,"end":null,` +
		`"variables":{"a":{"0":"x","1":{"0":1.5,"1":true,"2":null}},"b":{}},"user":"me"}`
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	if got := strings.Replace(text, j.Created, "CREATED", 1); got != want || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("waiting:\n%s, want\n%s", got, want)
	}
	_, text = w.do("GET", "/job/detail?id="+running, "", bearer(t))
	if got := strings.Join(keysOf(t, text), " "); got != "id pipeline tasks completed canceled errored created start end user" {
		t.Errorf("running: %s", got)
	}
	for _, id := range []string{running, waiting} {
		if res, text := w.do("POST", "/job/cancel?id="+strings.ToUpper(id), "", bearer(t)); res.StatusCode != 200 || text != "true" {
			t.Errorf("cancel: %d %s", res.StatusCode, text)
		}
		if j := w.ended(id); !j.Canceled || j.End == nil {
			t.Errorf("canceled: %+v", j)
		}
		if res, text := w.do("POST", "/job/cancel?id="+id, "", bearer(t)); res.StatusCode != 200 || text != "true" {
			t.Errorf("cancel again: %d %s", res.StatusCode, text)
		}
	}
}

// Fifty tabs that poll with what they have are told that nothing has changed, and
// all see it once something has.
func TestFiftyTabs(t *testing.T) {
	w := open(t)
	id := w.schedule(`{"pipeline":"release","variables":{"tag":"v1"}}`)
	w.ended(id)
	cookie := "Cookie: other=1; jwt=" + token(t)
	poll := func(path, tag string) (int, string, string) {
		res, text := w.do("GET", path, "", cookie, "If-None-Match: "+tag, "Accept: */*")
		return res.StatusCode, res.Header.Get("ETag"), text
	}
	var wg sync.WaitGroup
	began := time.Now()
	const polls = 20
	for range 50 {
		wg.Go(func() {
			for _, path := range []string{"/pipelines/jobs", "/job/logs?id=" + id + "&task=lint"} {
				code, tag, text := poll(path, `"none"`)
				if code != 200 || tag == "" || !json.Valid([]byte(text)) {
					t.Errorf("%s: %d %s %s", path, code, tag, text)
				}
				for news, same := 0, 0; same < polls; {
					code, again, text := poll(path, tag)
					switch {
					case code == 304 && again == tag && text == "":
						same++
					case code == 200 && again != tag && news < 5: // the last writes of the job that has just ended
						news, same, tag = news+1, 0, again
					default:
						t.Errorf("%s again: %d %s %s", path, code, again, text)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%v for one of 50 tabs' polls", time.Since(began)/(50*2*polls))
	_, tag, _ := poll("/pipelines/jobs", "")
	w.ended(w.schedule(`{"pipeline":"fails"}`))
	for range 50 {
		wg.Go(func() {
			if code, now, _ := poll("/pipelines/jobs", tag); code != 200 || now == tag {
				t.Errorf("after a change: %d", code)
			}
		})
	}
	wg.Wait()
}

// Several addresses serve one gateway, as codecanvas' and prunner's ports; a page
// elsewhere without a token runs code there, and nothing more.
func TestAnonymousCode(t *testing.T) {
	const page = "Origin: https://canvas.example"
	w := open(t, func(cfg *gateway.Config) {
		cfg.AnonymousCode, cfg.CORSOrigins = true, []string{"https://canvas.example"}
	})
	rig.EventuallyIn(t, 3*time.Minute, "languages are known", func() bool {
		res, text := w.do("GET", "/api/v1/languages", "", page, "Sec-Fetch-Site: cross-site")
		return res.StatusCode == 200 && strings.Contains(text, `"bash"`)
	})
	res, text := w.do("POST", "/api/v1/run", `{"source":"echo hi","language":"bash"}`, page, "Sec-Fetch-Site: cross-site", "Content-Type: application/json")
	if res.StatusCode != 200 || text != `{"error":null,"stderr":"","stdout":"hi\n"}` || res.Header.Get("Access-Control-Allow-Origin") != "https://canvas.example" {
		t.Errorf("run: %d %s %v", res.StatusCode, text, res.Header)
	}
	if res, text := w.do("POST", "/api/v1/run", `{"source":"echo hi","language":"bash"}`); res.StatusCode != 200 { // its command line has no origin
		t.Errorf("the command line: %d %s", res.StatusCode, text)
	}
	for _, path := range []string{"/pipelines", "/api/v1/runs", "/api/v1/me", "/metrics", "/job/logs"} {
		if res, _ := w.do("GET", path, "", page); res.StatusCode != 401 {
			t.Errorf("%s without a token: %d", path, res.StatusCode)
		}
	}
	off := &world{t: t, fleet: w.fleet}
	off.url = off.gateway()
	if res, text := off.do("POST", "/api/v1/run", `{"source":"echo hi","language":"bash"}`, page); res.StatusCode != 401 || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("by default: %d %s", res.StatusCode, text)
	}
}

// execute runs a program as Piston's clients do.
func (w *world) execute(body any, path string) (int, map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	res, got := w.do("POST", path, string(text), bearer(w.t), "Content-Type: application/json; charset=utf-8")
	var reply map[string]any
	if err := json.Unmarshal([]byte(got), &reply); err != nil {
		w.t.Fatalf("%s: %s", text, got)
	}
	return res.StatusCode, reply
}

func TestPistonShapes(t *testing.T) {
	w := open(t)
	var runtimes []struct {
		Language, Version, Runtime string
		Aliases                    []string
	}
	rig.EventuallyIn(t, 3*time.Minute, "languages are known", func() bool {
		_, text := w.do("GET", "/api/v2/piston/runtimes", "", bearer(t))
		_ = json.Unmarshal([]byte(text), &runtimes)
		return strings.Contains(text, `"bash"`) && strings.Contains(text, `"c"`)
	})
	versions := map[string]string{}
	for _, r := range runtimes {
		if r.Aliases == nil || strings.Count(r.Version, ".") != 2 {
			t.Errorf("runtime %+v", r)
		}
		versions[r.Language] = r.Version
	}
	major, _, _ := strings.Cut(versions["bash"], ".")
	const source = "cat other.txt; read line; echo \"$line $1\"; echo err >&2; kill -9 $$"
	for encoding, text := range map[string]string{"utf8": source, "": source, "base64": base64.StdEncoding.EncodeToString([]byte(source)), "hex": hex.EncodeToString([]byte(source))} {
		for _, version := range []string{"*", versions["bash"], major + ".x", "^" + major + ".0.0", ">=1.0.0"} {
			if encoding != "utf8" && version != "*" {
				continue
			}
			code, got := w.execute(map[string]any{"language": "bash", "version": version, "stdin": "in\n", "args": []string{"arg"}, "run_timeout": 20000,
				"files": []any{map[string]string{"name": "main.sh", "content": text, "encoding": encoding}, map[string]string{"name": "other.txt", "content": "other\n"}}}, "/api/v2/execute")
			run, _ := got["run"].(map[string]any)
			if code != 200 || got["version"] != versions["bash"] || run["stdout"] != "other\nin arg\n" || run["stderr"] != "err\n" || run["code"] != nil ||
				run["signal"] != "SIGKILL" || run["status"] != "SG" || got["compile"] != nil {
				t.Errorf("%s %s: %d %v", encoding, version, code, got)
			}
			for _, field := range []string{"cpu_time", "wall_time", "memory"} {
				if _, ok := run[field].(float64); !ok {
					t.Errorf("%s is %v", field, run[field])
				}
			}
		}
	}
	if code, got := w.execute(map[string]any{"language": "bash", "version": "*", "files": []any{map[string]string{"content": "!", "encoding": "base64"}}}, "/api/v2/execute"); code != 400 ||
		!strings.Contains(fmt.Sprint(got["message"]), "files[0].content is not base64") {
		t.Errorf("bad base64: %d %v", code, got)
	}
	code, got := w.execute(map[string]any{"language": "bash", "version": "*", "run_timeout": 500, "compile_timeout": 1, "files": []any{map[string]string{"content": "sleep 100"}}}, "/api/v2/piston/execute")
	if run, _ := got["run"].(map[string]any); code != 200 || run["status"] != "TO" || run["signal"] != "SIGKILL" {
		t.Errorf("too long: %d %v", code, got)
	}
	// The compiler is held to its own limit, and the program to another.
	heavy := "#include <stdio.h>\n#define A 1,1,1,1,1,1,1,1,1,1\n"
	for _, c := range []string{"AB", "BC", "CD", "DE", "EF"} {
		heavy += "#define " + c[1:] + " " + strings.TrimSuffix(strings.Repeat(c[:1]+",", 10), ",") + "\n"
	}
	heavy += "static const char big[] = {F};\nint main(){ puts(big[0] ? \"ran\" : \"\"); return 0; }"
	for limit, good := range map[int]bool{48 << 20: false, -1: true} {
		code, got = w.execute(map[string]any{"language": "c", "version": "*", "compile_memory_limit": limit, "run_timeout": 60000, "compile_timeout": 60000,
			"files": []any{map[string]string{"content": fmt.Sprintf("// %d\n%s", limit, heavy)}}}, "/api/v2/execute")
		run, _ := got["run"].(map[string]any)
		if ran := run["stdout"] == "ran\n"; code != 200 || ran != good {
			t.Errorf("a compiler with %d bytes: %d %v", limit, code, got)
		}
	}
	for path, want := range map[string]int{"/api/v2/connect": 501, "/api/v2/piston/connect": 501} {
		if res, text := w.do("GET", path, "", bearer(t), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="); res.StatusCode != want ||
			!strings.HasPrefix(text, `{"message":`) {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
	for _, method := range []string{"POST", "DELETE"} {
		if res, text := w.do(method, "/api/v2/packages", `{"language":"x","version":"1"}`, bearer(t)); res.StatusCode != 403 || !strings.HasPrefix(text, `{"message":`) {
			t.Errorf("%s packages: %d %s", method, res.StatusCode, text)
		}
	}
	if res, text := w.do("GET", "/api/v2/packages", "", bearer(t)); res.StatusCode != 200 || !strings.Contains(text, `{"language":"bash","language_version":"`+versions["bash"]+`","installed":true}`) {
		t.Errorf("packages: %d %s", res.StatusCode, text)
	}
	for _, kind := range []string{"Content-Type: text/json-ish", "Content-Type: application/x-www-form-urlencoded", "X: y"} {
		if res, text := w.do("POST", "/api/v2/execute", `{}`, bearer(t), kind); res.StatusCode != 415 || !strings.HasPrefix(text, `{"message":`) {
			t.Errorf("%s: %d %s", kind, res.StatusCode, text)
		}
	}
}

// Who asked is on the run's record, as this gateway claims.
func TestWhoAsked(t *testing.T) {
	w := open(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	res, text := w.do("POST", "/api/v1/runs", `{"argv":["true"]}`, bearer(t, auth.ScopeRun), "Content-Type: application/json")
	var started struct{ Runs []struct{ ID, User string } }
	if err := json.Unmarshal([]byte(text), &started); err != nil || res.StatusCode != 202 || len(started.Runs) != 1 || started.Runs[0].User != "me via gateway "+host {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

// The PHP and JavaScript clients in testdata are as strict as the old ones. Each has
// a fleet of its own: they count the jobs.
func TestForeignClients(t *testing.T) {
	for program, script := range map[string]string{"php": "client.php", "node": "client.mjs"} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("no %s here", program)
			}
			w := open(t)
			cmd := exec.CommandContext(rig.Within(t, 2*time.Minute), program, filepath.Join("testdata", script))
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "URL=" + w.url, "SECRET=" + secret, "TOKEN=" + token(t)}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil || !strings.HasSuffix(out.String(), "all good\n") {
				t.Errorf("%s: %v\n%s", program, err, out.String())
			}
		})
	}
}
