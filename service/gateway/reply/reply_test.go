package reply

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhoAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0": false, "br": false, "identity": false, "xgzip": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", header)
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

func TestMatchesTag(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, `"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"b",W/"a"`: true, "*": true, "a": false, `"ab"`: false, `"b"`: false, `"a-gzip"`: false,
	} {
		if got := matchesTag(header, `"a"`); got != want {
			t.Errorf("%s: %v", header, got)
		}
	}
}

// A body is made only for who has not got it, and is compressed for who likes it.
func TestTagged(t *testing.T) {
	made := 0
	ask := func(headers ...string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		Tagged(w, r, "t1", func() ([]byte, error) { made++; return []byte(`{"a":1}`), nil })
		return w
	}
	if w := ask(); w.Code != 200 || w.Body.String() != `{"a":1}` || w.Header().Get("ETag") != `"t1"` || w.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	w := ask("Accept-Encoding: gzip")
	z, err := gzip.NewReader(w.Body)
	if err != nil || w.Header().Get("ETag") != `"t1-gzip"` {
		t.Fatalf("%v %v", err, w.Header())
	}
	if text, _ := io.ReadAll(z); string(text) != `{"a":1}` {
		t.Errorf("%s", text)
	}
	if w := ask(`If-None-Match: "t1"`); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(`If-None-Match: "t1"`, "Accept-Encoding: gzip"); w.Code != 200 {
		t.Errorf("the tag of another encoding: %d", w.Code)
	}
	if made != 3 {
		t.Errorf("made %d times, want 3", made)
	}
	w = httptest.NewRecorder()
	Tagged(w, httptest.NewRequest("GET", "/", nil), "t2", func() ([]byte, error) { return nil, errors.New("away") })
	if w.Code != 503 || w.Header().Get("ETag") != "" || w.Body.String() != `{"error":"away"}` {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
}

// Piston's clients read message, all others error.
func TestRefusals(t *testing.T) {
	for path, want := range map[string]string{"/api/v2/execute": `{"message":"no"}`, "/api/v1/run": `{"error":"no"}`, "/": `{"error":"no"}`} {
		w := httptest.NewRecorder()
		Refusal(httptest.NewRequest("GET", path, nil))(w, http.StatusForbidden, "no")
		if w.Code != 403 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	for size, fails := range map[int]bool{0: false, 10: false, 11: true} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", size)))
		body, err := ReadBody(w, r, 10)
		if IsTooLarge(err) != fails || !fails && len(body) != size {
			t.Errorf("%d bytes: %d, %v", size, len(body), err)
		}
	}
}
