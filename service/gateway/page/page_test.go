package page

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func ask(t *testing.T, method, path, encoding string) (*httptest.ResponseRecorder, bool) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if encoding != "" {
		r.Header.Set("Accept-Encoding", encoding)
	}
	w := httptest.NewRecorder()
	return w, Serve(w, r)
}

var assetLink = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)

func TestIndex(t *testing.T) {
	nonces := map[string]bool{}
	for _, path := range []string{"/", "/runs", "/runs/01ABC", "/fleet/web1"} {
		w, ok := ask(t, "GET", path, "")
		if !ok || w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("%s: %v %d %v", path, ok, w.Code, w.Header())
		}
		policy := w.Header().Get("Content-Security-Policy")
		nonce := regexp.MustCompile(`'nonce-([^']+)'`).FindStringSubmatch(policy)
		if strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || nonce == nil {
			t.Errorf("policy %s", policy)
		}
		if nonces[nonce[1]] || len(nonce[1]) < 22 || !strings.Contains(w.Body.String(), `data-nonce="`+nonce[1]+`"`) {
			t.Errorf("nonce %q is not of this answer alone", nonce[1])
		}
		nonces[nonce[1]] = true
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("a nonce would be kept: %s", w.Header().Get("Cache-Control"))
		}
		if regexp.MustCompile(`<script[^>]*>[^<]|<style|style=| on\w+=|https?://`).MatchString(strings.ReplaceAll(w.Body.String(), "http://www.w3.org", "")) {
			t.Error("the page has something in it that the policy forbids")
		}
	}
}

func TestAssets(t *testing.T) {
	index, _ := ask(t, "GET", "/", "")
	links := assetLink.FindAllStringSubmatch(index.Body.String(), -1)
	if len(links) < 3 {
		t.Fatalf("the page links to %v", links)
	}
	for _, link := range links {
		plain, ok := ask(t, "GET", link[1], "")
		if !ok || plain.Code != 200 || plain.Body.Len() == 0 || plain.Header().Get("Content-Type") == "" {
			t.Fatalf("%s: %v %d", link[1], ok, plain.Code)
		}
		if !strings.Contains(link[1], "-") {
			continue // the icon
		}
		if c := plain.Header().Get("Cache-Control"); !strings.Contains(c, "immutable") || plain.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Cache-Control %q", link[1], c)
		}
		zipped, _ := ask(t, "GET", link[1], "gzip, deflate")
		z, err := gzip.NewReader(zipped.Body)
		if err != nil || zipped.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v %v", link[1], err, zipped.Header())
		}
		if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
			t.Errorf("%s differs when it is zipped: %v", link[1], err)
		}
		br, _ := ask(t, "GET", link[1], "gzip, br")
		if br.Header().Get("Content-Encoding") != "br" || br.Body.Len() >= zipped.Body.Len() && br.Body.Len() > plain.Body.Len()/2 {
			t.Errorf("%s: %v, %d bytes", link[1], br.Header(), br.Body.Len())
		}
		if none, _ := ask(t, "GET", link[1], "br;q=0, gzip;q=0"); none.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed for somebody who does not take it", link[1])
		}
		if head, _ := ask(t, "HEAD", link[1], ""); head.Body.Len() != 0 || head.Header().Get("Content-Length") != plain.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d bytes", link[1], head.Body.Len())
		}
	}
}

// What a browser loads before anything is seen has 100 kB at most; the editor comes when it is needed.
func TestFirstLoadIsSmall(t *testing.T) {
	index, _ := ask(t, "GET", "/", "")
	sum := index.Body.Len()
	names := []string{}
	for _, link := range assetLink.FindAllStringSubmatch(index.Body.String(), -1) {
		names = append(names, strings.TrimPrefix(link[1], "/assets/"))
	}
	for i := 0; i < len(names); i++ { // and what that imports
		body := string(files()[names[i]].plain)
		for _, m := range regexp.MustCompile(`(?:from|import)"\./([^"]+)"`).FindAllStringSubmatch(body, -1) {
			names = append(names, m[1])
		}
		if w, ok := ask(t, "GET", "/assets/"+names[i], "gzip"); ok {
			sum += w.Body.Len()
		}
	}
	t.Logf("%d bytes, gzipped: %v", sum, names)
	if sum > 100_000 {
		t.Errorf("the first load has %d bytes, gzipped: more than 100,000", sum)
	}
}

func TestWhatIsNotThePages(t *testing.T) {
	for _, path := range []string{"/pipelines", "/job/detail", "/api/v1/nosuch", "/assets/nosuch.js", "/assets/index.html", "/assets/../page.go", "/runsx", "/metrics", "//", "//pipelines", "//runs"} {
		if w, ok := ask(t, "GET", path, ""); ok {
			t.Errorf("%s is the page's: %d", path, w.Code)
		}
	}
	if _, ok := ask(t, "POST", "/runs", ""); ok {
		t.Error("POST /runs is the page's")
	}
}
