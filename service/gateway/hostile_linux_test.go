package gateway_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// hostile is a gateway behind a real listener, and the clients that attack it.
type hostile struct {
	t     *testing.T
	w     *world
	nc    *nats.Conn // the gateway's
	addr  string
	run   string // of a flood of output
	job   string
	token string
	stop  context.Context

	mu    sync.Mutex
	codes map[int]int
	bad   []string // answers that may not be
}

// listen serves as the program does.
func (h *hostile) listen() {
	h.nc = h.w.fleet.Conn()
	g, err := gateway.New(rig.Within(h.t, time.Minute), h.nc, gateway.Config{Secret: secret, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(g.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = l.Addr().String()
	server := &http.Server{
		Handler: g.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	served := make(chan struct{})
	go func() { _ = server.Serve(l); close(served) }()
	h.t.Cleanup(func() { _ = server.Close(); <-served })
}

// answered counts an answer; none may be the gateway's fault.
func (h *hostile) answered(code int, what, body string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.codes[code]++
	if code >= 500 && code != http.StatusHTTPVersionNotSupported {
		h.bad = append(h.bad, fmt.Sprintf("%d to %s: %.200s", code, what, body))
	}
}

// send is a request by a client of its own, whose answer is read in so many bytes.
func (h *hostile) send(ctx context.Context, method, path, body string, headers ...string) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+h.addr+path, strings.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	_ = res.Body.Close()
	h.answered(res.StatusCode, method+" "+path, string(text))
}

// raw sends bytes and reads the first line of the answer, if there is one.
func (h *hostile) raw(text string, after func(*net.TCPConn)) {
	c, err := net.DialTimeout("tcp", h.addr, 10*time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(c, strings.ReplaceAll(text, "TOKEN", h.token))
	if after != nil {
		after(c.(*net.TCPConn))
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if words := strings.Fields(line); err == nil && len(words) > 1 {
		code, _ := strconv.Atoi(words[1])
		h.answered(code, fmt.Sprintf("%.100q", text), "")
	}
}

func pick[T any](of ...T) T { return of[rand.IntN(len(of))] }

// attacks are what a hostile client does, again and again.
func (h *hostile) attacks() []func() {
	ctx := h.stop
	get := func(path string, headers ...string) { h.send(ctx, "GET", path, "", headers...) }
	log, feed := "/api/v1/runs/"+h.run+"/log", "/api/v1/runs/"+h.run+"/events"
	return []func(){
		h.badJSON,
		h.badTokens,
		func() {
			h.slowReader(pick(log, feed, log+"?stream=stdout", "/api/v1/events?topics=fleet,runs,log:"+h.run))
		},
		func() { // cancels
			ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(30))*time.Millisecond)
			defer cancel()
			h.send(ctx, "GET", pick(log, feed, "/pipelines/jobs", "/api/v1/events?topics=fleet,runs,job:"+h.job), "")
		},
		func() {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(50))*time.Millisecond)
			defer cancel()
			h.send(ctx, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+pick("run", "follow", "list_runs", "nothing")+
				`","arguments":{"command":"sleep 1","runs":["`+h.run+`"],"wait_seconds":5}}}`, "Content-Type: application/json", "Accept: application/json, text/event-stream")
		},
		func() { // half-closed, or reset
			h.raw("GET "+pick(log, feed, "/pipelines/jobs")+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n", func(c *net.TCPConn) {
				if rand.IntN(2) == 0 {
					_ = c.SetLinger(0)
					_ = c.Close()
					return
				}
				_ = c.CloseWrite()
			})
		},
		func() { // slowloris
			h.raw("GET / HTTP/1.1\r\nHost: x\r\nX-A: ", func(*net.TCPConn) { time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) })
		},
		func() { // a body that does not come
			h.raw("POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 1000\r\n\r\n{", func(c *net.TCPConn) {
				time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
				_ = c.Close()
			})
		},
		h.odd,
		func() { // ranges
			get(log+"?stream=stdout", "Range: bytes="+pick("0-,", "-1", "99999999999999999999-", "5-1", strings.Repeat("0-0,", 2000)+"1-1", "0-9223372036854775807"))
		},
		func() { // conditions and encodings
			get("/pipelines/jobs", "If-None-Match: "+strings.Repeat(`"x",`, 1000), "Accept-Encoding: "+strings.Repeat("gzip;q=0.1,", 1000))
		},
		func() { // a burst on one connection
			h.raw(strings.Repeat("GET /job/detail?id="+h.job+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n", 50), nil)
		},
		func() {
			get(pick("/job/detail?id=%00", "/job/logs?id="+h.job+"&task="+strings.Repeat("x", 5000), "/pipelines/jobs?limit=-1", "/pipelines/jobs?next=%ff",
				"/api/v1/events?topics="+strings.Repeat("log:x,", 500), log+"?from=999999999999", log+"?tail=99999999999999999999", "/api/v1/runs/../../x",
				feed+"?"+strings.Repeat("a=b&", 500)), "Last-Event-ID: "+pick("1.1", "99999999.1", "-1.x", strings.Repeat("9", 500)))
		},
	}
}

func (h *hostile) badJSON() {
	path := pick("/pipelines/schedule", "/api/v1/run", "/api/v2/execute", "/api/v1/runs", "/mcp", "/signin", "/job/cancel?id="+h.job[:8])
	body := pick("", "{", "null", "[]", `"x"`, strings.Repeat("[", 100_000), `{"pipeline":1e999}`, `{"pipeline":"release","variables":[1]}`, "\xff\xfe\x00",
		`{"pipeline":{"a":1}}`, `{"language":"bash","source":""}`, `{"files":[{"content":5}],"language":"bash","version":"*"}`, strings.Repeat("x", 2<<20),
		`{"pipeline":"`+strings.Repeat("\\u0000", 1000)+`"}`, `{"jsonrpc":"2.0","id":{},"method":1}`, `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`)
	h.send(h.stop, "POST", path, body, "Content-Type: "+pick("application/json", "text/plain", "application/json; charset=\x00", ""), "Accept: "+pick("*/*", "text/event-stream, application/json"),
		"Content-Encoding: "+pick("", "gzip"))
}

func (h *hostile) badTokens() {
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"../../etc/passwd"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root","scope":"admin"}`)) + "."
	h.send(h.stop, "GET", "/pipelines/jobs", "", pick("Authorization: Bearer "+none, "Authorization: Bearer a.b.c", "Authorization: Bearer "+strings.Repeat("x", 30_000),
		"Authorization: Basic x", "Authorization: Bearer "+h.token[:len(h.token)-2]+"xx", "Cookie: jwt="+none, "Authorization: "))
}

// slowReader reads a little, and goes.
func (h *hostile) slowReader(path string) {
	h.raw("GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n", func(c *net.TCPConn) {
		_ = c.SetReadBuffer(4 << 10)
		b := make([]byte, 16)
		for range rand.IntN(20) {
			if _, err := c.Read(b); err != nil || h.stop.Err() != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		_ = c.SetLinger(0)
		_ = c.Close()
	})
}

// odd are requests that no honest client writes.
func (h *hostile) odd() {
	h.raw(pick(
		"GET /pipelines/../metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /%2e%2e/%2e%2e/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://other/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"get /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
		"POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 200)+"\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET /"+strings.Repeat("a/", 20_000)+" HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nCookie: jwt=\x01;runnel_runner=\"\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	), nil)
}

// left is what an attack may leave nothing of.
type left struct{ goroutines, descriptors, subscriptions, consumers int }

func (h *hostile) left() (l left) {
	transport.CloseIdleConnections()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := rig.JetStream(h.t, h.nc).Stream(rig.Within(h.t, time.Minute), "RUNNER_LOG")
	if err != nil {
		h.t.Fatal(err)
	}
	return left{runtime.NumGoroutine(), len(entries), h.nc.NumSubscriptions(), s.CachedInfo().State.Consumers}
}

func newHostile(t *testing.T, lines int) *hostile {
	h := &hostile{t: t, w: open(t), codes: map[int]int{}}
	h.listen()
	var err error
	if h.token, err = auth.Token(secret, "mallory", []auth.Scope{auth.ScopeRead, auth.ScopeRun}, time.Hour); err != nil {
		t.Fatal(err)
	}
	c := h.w.fleet.Client()
	task := &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{fmt.Sprintf("seq -f '%%.0f some text that makes it longer' %d", lines)}}}}
	out, err := c.Run(rig.Within(t, 2*time.Minute), client.Target{}, task, client.RunEvents{})
	if err != nil {
		t.Fatal(err)
	}
	h.run = out.Run.GetId()
	h.job = h.w.schedule(`{"pipeline":"release"}`)
	h.w.ended(h.job)
	return h
}

// Clients that attack it leave nothing behind, get no error that is the gateway's
// fault, and keep nobody waiting.
func TestHostileClients(t *testing.T) {
	clients, lines, length := 10, 20_000, 3*time.Second
	long := os.Getenv("RUNNEL_LONG") != ""
	if long {
		clients, lines, length = 100, 200_000, time.Minute
	}
	h := newHostile(t, lines)
	h.stop = t.Context()
	for _, attack := range h.attacks() { // what is made once is made
		attack()
	}
	before := h.left()
	stop, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	h.stop = stop
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for attacks := h.attacks(); stop.Err() == nil; {
				pick(attacks...)()
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			}
		})
	}
	times := h.honest(stop)
	wg.Wait()
	h.verdict(times, long)
	rig.EventuallyIn(t, time.Minute, fmt.Sprintf("it is as before: %+v", before), func() bool {
		now := h.left()
		return now.goroutines <= before.goroutines+5 && now.descriptors <= before.descriptors+2 && now.subscriptions <= before.subscriptions && now.consumers <= before.consumers
	})
}

// honest is somebody else meanwhile, who asks for a page's worth.
func (h *hostile) honest(stop context.Context) (times []time.Duration) {
	calm := &http.Transport{}
	defer calm.CloseIdleConnections()
	for stop.Err() == nil {
		req, _ := http.NewRequestWithContext(context.Background(), "GET", "http://"+h.addr+pick("/pipelines", "/job/detail?id="+h.job), nil)
		req.Header.Set("Authorization", "Bearer "+h.token)
		began := time.Now()
		res, err := calm.RoundTrip(req)
		if err != nil {
			h.t.Error(err)
			return times
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		times = append(times, time.Since(began))
		if res.StatusCode != 200 {
			h.t.Errorf("somebody else got %d", res.StatusCode)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return times
}

func (h *hostile) verdict(times []time.Duration, long bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(times)
	p99 := times[len(times)*99/100]
	h.t.Logf("answers %v; somebody else: %d requests, p50 %v, p99 %v", h.codes, len(times), times[len(times)/2], p99)
	for _, code := range []int{200, 400, 401, 404, 405} {
		if long && h.codes[code] == 0 {
			h.t.Errorf("nobody got a %d: the attack does not what it should", code)
		}
	}
	if len(h.bad) > 0 {
		h.t.Errorf("%d answers that may not be:\n%s", len(h.bad), strings.Join(h.bad[:min(10, len(h.bad))], "\n"))
	}
	if long && p99 > 50*time.Millisecond {
		h.t.Errorf("p99 of somebody else's GET is %v, above 50 ms", p99)
	}
}

// A request that is wrong is the client's fault, also where only the fleet sees it.
func TestWrongSchedule(t *testing.T) {
	w := open(t)
	for _, body := range []string{"null", "{}", `{"pipeline":""}`, `{"pipeline":"a\u0000b"}`, `{"pipeline":"` + strings.Repeat("x", 5000) + `"}`} {
		if res, text := w.do("POST", "/pipelines/schedule", body, bearer(t)); res.StatusCode != 400 || !strings.HasPrefix(text, `{"error":"Error scheduling pipeline: `) {
			t.Errorf("%.30s: %d %.200s", body, res.StatusCode, text)
		}
	}
}

// A client that stops to send while it is answered sees its connection end, and no
// error of the gateway's.
func TestHalfClosed(t *testing.T) {
	h := newHostile(t, 1000)
	h.stop = t.Context()
	for range 50 {
		h.raw("GET /api/v1/runs/"+h.run+"/log HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n", func(c *net.TCPConn) { _ = c.CloseWrite() })
	}
	if len(h.bad) > 0 {
		t.Errorf("%d of 50: %s", len(h.bad), h.bad[0])
	}
}
