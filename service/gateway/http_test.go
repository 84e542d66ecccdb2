package gateway_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/tests/rig"
)

func (w *world) apply(text string) {
	w.t.Helper()
	if _, err := w.fleet.Client().Apply(rig.Within(w.t, time.Minute), text, client.ApplyOptions{Source: "test"}); err != nil {
		w.t.Fatal(err)
	}
}

// Old pages poll a log whole: what they have is not sent again.
func TestLogIsTagged(t *testing.T) {
	w := open(t)
	id := w.schedule(`{"pipeline":"release","variables":{"tag":"v1"}}`)
	w.ended(id)
	path := "/job/logs?id=" + id + "&task=lint"
	res, text := w.do("GET", path, "", bearer(t))
	tag := res.Header.Get("ETag")
	if tag == "" || res.Header.Get("Cache-Control") != "no-cache" || text != `{"stdout":"lint v1\n","stderr":"warn\n"}` {
		t.Fatalf("%v %s", res.Header, text)
	}
	other := &world{t: t, fleet: w.fleet}
	other.url = other.gateway()
	for _, at := range []*world{w, other} {
		if res, text := at.do("GET", path, "", bearer(t), `If-None-Match: "x", W/`+tag); res.StatusCode != 304 || text != "" {
			t.Errorf("with the tag: %d %s", res.StatusCode, text)
		}
	}
	zipped, body := w.do("GET", path, "", bearer(t), "Accept-Encoding: gzip")
	z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
	if err != nil || zipped.Header.Get("ETag") == tag || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("compressed: %v %v", err, zipped.Header)
	}
	if plain, _ := io.ReadAll(z); string(plain) != text {
		t.Errorf("compressed: %s", plain)
	}
	if res, text := w.do("HEAD", path, "", bearer(t)); res.StatusCode != 200 || text != "" || res.Header.Get("ETag") != tag {
		t.Errorf("HEAD: %d %v", res.StatusCode, res.Header)
	}
	for _, other := range []string{"/job/logs?id=" + id + "&task=test", path + "&tail=1", path + "&stream=stdout", path + "&stream=stderr"} {
		if res, _ := w.do("GET", other, "", bearer(t), "If-None-Match: "+tag); res.StatusCode != 200 {
			t.Errorf("%s has the tag of another log", other)
		}
	}
}

func TestLogIsTaggedWhileItGrows(t *testing.T) {
	w := open(t)
	w.apply("pipelines:\n  grows:\n    tasks:\n      a: {script: ['echo one; sleep 1; echo two; sleep 100']}\n")
	id := w.schedule(`{"pipeline":"grows"}`)
	path := "/job/logs?id=" + id + "&task=a"
	tags := map[string]string{}
	rig.Eventually(t, "two lines", func() bool {
		res, text := w.do("GET", path, "", bearer(t))
		tag := res.Header.Get("ETag")
		if strings.Contains(text, "one") && !strings.Contains(text, "two") {
			tags["one"] = tag
		}
		return strings.Contains(text, "two")
	})
	if res, _ := w.do("GET", path, "", bearer(t), "If-None-Match: "+tags["one"]); tags["one"] != "" && res.StatusCode != 200 {
		t.Errorf("more is there, and the answer is %d", res.StatusCode)
	}
	w.do("POST", "/job/cancel?id="+id, "", bearer(t))
	w.ended(id)
}

func TestLogRanges(t *testing.T) {
	w := open(t)
	w.apply("pipelines:\n  long:\n    tasks:\n      a: {script: ['seq 1 20000; echo no >&2; printf end']}\n")
	id := w.schedule(`{"pipeline":"long"}`)
	w.ended(id)
	path := "/job/logs?id=" + id + "&task=a&stream=stdout"
	res, all := w.do("GET", path, "", bearer(t))
	tag, size := res.Header.Get("ETag"), len(all)
	if res.Header.Get("Accept-Ranges") != "bytes" || !strings.HasSuffix(all, "20000\nend") {
		t.Fatalf("%v …%q", res.Header, all[max(0, size-20):])
	}
	for _, c := range []struct {
		header      string
		code        int
		want, about string
	}{
		{"Range: bytes=0-0", 206, all[:1], "bytes 0-0/"},
		{"Range: bytes=1-1", 206, "\n", "bytes 1-1/"},
		{"Range: bytes=5000-70000", 206, all[5000:70001], "bytes 5000-70000/"},
		{"Range: bytes=100000-", 206, all[100000:], "bytes 100000-"},
		{"Range: bytes=-3", 206, "end", ""},
		{"Range: bytes=-999999999", 206, all, "bytes 0-"},
		{"Range: bytes=5-999999999999999999", 206, all[5:], "bytes 5-"},
		{"Range: bytes=999999999-", 416, "", "bytes */"},
		{"Range: bytes=-0", 416, "", "bytes */"},
		{"Range: bytes=0-1,3-4", 200, all, ""},
		{"Range: bytes=4-1", 200, all, ""},
		{"Range: lines=1-2", 200, all, ""},
	} {
		res, text := w.do("GET", path, "", bearer(t), c.header)
		if res.StatusCode != c.code || c.code != 416 && text != c.want || !strings.HasPrefix(res.Header.Get("Content-Range"), c.about) {
			t.Errorf("%s: %d %s, %d bytes; want %d, %d bytes", c.header, res.StatusCode, res.Header.Get("Content-Range"), len(text), c.code, len(c.want))
		}
	}
	if res, text := w.do("GET", path, "", bearer(t), "Range: bytes=0-2", "If-Range: "+tag); res.StatusCode != 206 || text != "1\n2" {
		t.Errorf("If-Range: %d %q", res.StatusCode, text)
	}
	if res, text := w.do("GET", path, "", bearer(t), "Range: bytes=0-2", `If-Range: "x"`); res.StatusCode != 200 || text != all {
		t.Errorf("If-Range of another text: %d", res.StatusCode)
	}
}

func TestMethods(t *testing.T) {
	w := open(t)
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/pipelines", "GET, HEAD"},
		{"DELETE", "/pipelines/jobs", "GET, HEAD"},
		{"GET", "/job/cancel?id=x", "POST"},
		{"PUT", "/api/v2/packages", "GET, HEAD, POST, DELETE"},
		{"OPTIONS", "/job/logs", "GET, HEAD"},
	} {
		if res, _ := w.do(c.method, c.path, "", bearer(t)); res.StatusCode != 405 || res.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.path, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	res, _ := w.do("GET", "/pipelines", "")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"WWW-Authenticate": "Bearer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestPagesElsewhere(t *testing.T) {
	const page, other = "Origin: https://page.example", "Origin: https://evil.example"
	const cross, asks = "Sec-Fetch-Site: cross-site", "Access-Control-Request-Method: POST"
	w := open(t, func(cfg *gateway.Config) {
		cfg.CORSOrigins, cfg.AnonymousCode = []string{"https://page.example"}, true
	})
	res, _ := w.do("OPTIONS", "/api/v1/run", "", page, cross, asks, "Access-Control-Request-Headers: content-type")
	h := res.Header
	if res.StatusCode != 204 || h.Get("Access-Control-Allow-Origin") != "https://page.example" || h.Get("Access-Control-Allow-Methods") != "POST" ||
		!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type") {
		t.Errorf("preflight: %d %v", res.StatusCode, h)
	}
	res, _ = w.do("OPTIONS", "/api/v1/run", "", other, cross, asks)
	if res.StatusCode != 405 || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight from elsewhere: %d %v", res.StatusCode, res.Header)
	}
	for origin, code := range map[string]int{page: 400, other: 403} {
		res, text := w.do("POST", "/api/v1/run", `{}`, origin, cross)
		if res.StatusCode != code || res.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("POST with %s: %d %s", origin, res.StatusCode, text)
		}
		if got := res.Header.Get("Access-Control-Allow-Origin"); (got != "") != (origin == page) {
			t.Errorf("POST with %s: allowed %q", origin, got)
		}
	}
	if res, _ := w.do("GET", "/pipelines", "", page, cross); res.StatusCode != 401 || res.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("a page can't read its 401: %v", res.Header)
	}
	if _, err := gateway.New(rig.Within(t, time.Minute), w.fleet.Conn(), gateway.Config{Secret: secret, CORSOrigins: []string{"page.example"}}); err == nil {
		t.Error("an origin without a scheme was taken")
	}
}

// What the compiler says is no output of the program.
func TestCompilerIsApart(t *testing.T) {
	w := open(t)
	rig.EventuallyIn(t, 3*time.Minute, "C is known", func() bool {
		_, text := w.do("GET", "/api/v2/runtimes", "", bearer(t))
		return strings.Contains(text, `"c"`)
	})
	const source = "#warning look here\n#include <stdio.h>\nint main(){ puts(\"ran\"); return 0; }"
	body, _ := json.Marshal(map[string]any{"language": "c", "version": "*", "files": []any{map[string]string{"content": source}}, "run_timeout": 20000, "compile_timeout": 40000})
	res, text := w.do("POST", "/api/v2/execute", string(body), bearer(t), "Content-Type: application/json")
	var reply struct {
		Run, Compile struct{ Stdout, Stderr, Output string }
	}
	if err := json.Unmarshal([]byte(text), &reply); err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if reply.Run.Output != "ran\n" || reply.Run.Stderr != "" || !strings.Contains(reply.Compile.Stderr, "look here") {
		t.Errorf("%+v", reply)
	}
	body, _ = json.Marshal(map[string]string{"language": "c", "source": source})
	res, text = w.do("POST", "/api/v1/run", string(body), bearer(t))
	if res.StatusCode != 200 || text != `{"error":null,"stderr":"","stdout":"ran\n"}` {
		t.Errorf("codecanvas: %d %s", res.StatusCode, text)
	}
}

func TestMemoryLimit(t *testing.T) {
	w := open(t)
	rig.EventuallyIn(t, 3*time.Minute, "bash is known", func() bool {
		_, text := w.do("GET", "/api/v2/runtimes", "", bearer(t))
		return strings.Contains(text, `"bash"`)
	})
	body := `{"language":"bash","version":"*","files":[{"content":"a=x; for i in $(seq 28); do a=$a$a; done; echo ${#a}"}],"run_timeout":30000,"run_memory_limit":LIMIT}`
	for limit, want := range map[string]bool{"33554432": false, "-1": true} {
		_, text := w.do("POST", "/api/v2/execute", strings.Replace(body, "LIMIT", limit, 1), bearer(t), "Content-Type: application/json")
		if got := strings.Contains(text, "268435456"); got != want {
			t.Errorf("with the limit %s: %s", limit, text)
		}
	}
}

// A client that sends half a request leaves nothing behind; goleak looks.
func TestHalfARequest(t *testing.T) {
	w := open(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"+bearer(t)+"\r\n\r\n{")
	_ = conn.Close()
	if res, text := w.do("POST", "/pipelines/schedule", `{"pipeline":"`+strings.Repeat("x", 1<<20)+`"}`, bearer(t)); res.StatusCode != 413 {
		t.Errorf("a long body: %d %.100s", res.StatusCode, text)
	}
}
