package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// talk sends bytes over one connection and reads so many answers from it.
func (w *world) talk(text string, answers int) (got []string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	for in := bufio.NewReader(conn); len(got) < answers; {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			w.t.Errorf("%.60q: answer %d: %v", text, len(got)+1, err)
			return got
		}
		if res.StatusCode == http.StatusContinue {
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			w.t.Errorf("%.60q: the body of answer %d: %v", text, len(got)+1, err)
		}
		keeps := "closes"
		if !res.Close {
			keeps = "keeps"
		}
		got = append(got, fmt.Sprintf("%s %d %s %s", res.Proto, res.StatusCode, keeps, body))
	}
	return got
}

// What clients send that are not Go's: curl, PHP's streams, Guzzle, old proxies.
func TestRawRequests(t *testing.T) {
	w := open(t)
	auth := bearer(t) + "\r\n"
	lower := strings.Replace(auth, "Authorization", "authorization", 1)
	const start, schedules = `{"pipeline":"nosuch"}`, "POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\n"
	const refused = `400 keeps {"error":"Error scheduling pipeline: pipeline \"nosuch\" is not defined"}`
	head, rest := start[:9], start[9:]
	chunked := fmt.Sprintf("%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n", len(head), head, len(rest), rest)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"HTTP/1.0":                {"GET /job/detail HTTP/1.0\r\n" + auth + "\r\n", []string{`HTTP/1.0 400 closes {"error":"Invalid job id"}`}},
		"HTTP/1.0 that keeps":     {strings.Repeat("GET /job/detail HTTP/1.0\r\nConnection: Keep-Alive\r\n"+auth+"\r\n", 2), []string{`HTTP/1.0 400 keeps {"error":"Invalid job id"}`, `HTTP/1.0 400 keeps {"error":"Invalid job id"}`}},
		"several at once":         {strings.Repeat("GET /job/detail HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n", 3), []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`, `HTTP/1.1 400 keeps {"error":"Invalid job id"}`, `HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
		"closing":                 {"GET /job/detail HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + auth + "\r\n", []string{`HTTP/1.1 400 closes {"error":"Invalid job id"}`}},
		"in lower case":           {"GET /job/detail HTTP/1.1\r\nhost: x\r\n" + lower + "\r\n", []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
		"a proxy's":               {"GET http://old.example:9009/job/detail HTTP/1.1\r\nHost: old.example:9009\r\n" + auth + "\r\n", []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
		"in pieces":               {schedules + "Transfer-Encoding: chunked\r\n" + auth + "\r\n" + chunked, []string{"HTTP/1.1 " + refused}},
		"that waits for its turn": {schedules + "Expect: 100-continue\r\nContent-Length: 21\r\n" + auth + "\r\n" + start, []string{"HTTP/1.1 " + refused}},
		"a form by its type":      {schedules + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 21\r\n" + auth + "\r\n" + start, []string{"HTTP/1.1 " + refused}},
		"without a length":        {"POST /job/cancel?id=x HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
		"with the length 0":       {"POST /job/cancel?id=x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + auth + "\r\n", []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
		"too much, as it says":    {schedules + "Content-Length: 99999999999\r\n" + auth + "\r\n{", []string{`HTTP/1.1 413 closes {"error":"Error decoding JSON: the body has more than 1048576 bytes"}`}},
		"too much for a run":      {"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n" + auth + "\r\n{", []string{`HTTP/1.1 413 closes {"error":"the request has more than 1048576 bytes"}`}},
		"a GET with a body":       {"GET /job/detail HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + auth + "\r\n{}GET /job/detail HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`, `HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
		"HEAD, and then":          {"HEAD /pipelines HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []string{"HTTP/1.1 200 keeps "}},
		"without a host":          {"GET /job/detail HTTP/1.1\r\n" + auth + "\r\n", []string{"HTTP/1.1 400 closes 400 Bad Request: missing required Host header"}},
		"upgrading":               {"GET /job/detail HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n" + auth + "\r\n", []string{`HTTP/1.1 400 keeps {"error":"Invalid job id"}`}},
	} {
		if got := w.talk(c.text, len(c.want)); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s, want\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Who takes gzip, and how much he likes it.
func TestAcceptEncoding(t *testing.T) {
	w := open(t)
	for header, want := range map[string]bool{
		"gzip": true, "GZip": true, "gzip, deflate, br": true, "br;q=1.0, gzip;q=0.8, *;q=0.1": true, "identity, gzip ; q=0.001": true, "gzip;q=1": true, "deflate,gzip": true,
		"gzip;q=0": false, "gzip; q=0.000": false, "gzip;Q=0.0, deflate": false, "identity": false, "x-gzipped": false, "": false, "*": false, "deflate": false,
	} {
		res, _ := w.do("GET", "/pipelines/jobs", "", bearer(t), "Accept-Encoding: "+header)
		tag := res.Header.Get("ETag")
		if got := res.Header.Get("Content-Encoding") == "gzip"; got != want || strings.HasSuffix(tag, `-gzip"`) != want || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", header, res.Header)
		}
		for _, sent := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			if res, body := w.do("GET", "/pipelines/jobs", "", bearer(t), "Accept-Encoding: "+header, "If-None-Match: "+sent); res.StatusCode != 304 || body != "" || res.Header.Get("ETag") != tag || res.Header.Get("Content-Type") != "" {
				t.Errorf("%q with %s: %d %v", header, sent, res.StatusCode, res.Header)
			}
		}
	}
}
