// Package page is the web page: its files, built from src by build.mjs and
// embedded, and the handler that serves them under a policy that lets nothing
// else in.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// views are the first parts of the addresses that are the page's own. What the
// API has is never among them.
var views = []string{"", "fleet", "fanout", "jobs", "new", "play", "queue", "runs"}

// asset is a file in its three forms; br and zipped may be nil.
type asset struct {
	kind              string
	plain, zipped, br []byte
}

// files are all assets, by name.
var files = sync.OnceValue(func() map[string]asset {
	entries, err := dist.ReadDir("dist")
	if err != nil {
		panic(err) // it is in the binary
	}
	all := map[string]asset{}
	for _, e := range entries {
		if name := e.Name(); !strings.HasSuffix(name, ".br") {
			all[name] = load(name)
		}
	}
	return all
})

func load(name string) asset {
	a := asset{kind: mime.TypeByExtension(path.Ext(name)), plain: read(name)}
	switch path.Ext(name) { // a system's own table may say otherwise
	case ".js":
		a.kind = "text/javascript; charset=utf-8"
	case ".css":
		a.kind = "text/css; charset=utf-8"
	case ".svg":
		a.kind = "image/svg+xml"
	case ".txt":
		a.kind = "text/plain; charset=utf-8"
	}
	a.br = read(name + ".br")
	if a.br != nil {
		var zipped bytes.Buffer
		z, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		_, _ = z.Write(a.plain)
		_ = z.Close()
		a.zipped = zipped.Bytes()
	}
	return a
}

func read(name string) []byte {
	body, err := dist.ReadFile("dist/" + name)
	if err != nil {
		return nil
	}
	return body
}

// Serve answers a request if its address is the page's, and says whether it did.
func Serve(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok {
		return serveAsset(w, r, name)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !slices.Contains(views, first) || first == "" && r.URL.Path != "/" {
		return false
	}
	serveIndex(w, r)
	return true
}

// policy lets in what this gateway serves, and styles that the editor makes with
// the nonce of this answer.
func policy(nonce string) string {
	return "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'nonce-" + nonce + "'; img-src 'self'; " +
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

func serveIndex(w http.ResponseWriter, r *http.Request) {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // it never fails
	nonce := base64.RawStdEncoding.EncodeToString(random)
	h := w.Header()
	h.Set("Content-Security-Policy", policy(nonce))
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store") // the nonce is good once
	body := bytes.Replace(files()["index.html"].plain, []byte("NONCE"), []byte(nonce), 1)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) bool {
	a, ok := files()[name]
	if !ok || name == "index.html" {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if strings.Contains(name, "-") { // its hash is in its name
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "public, max-age=3600")
	}
	if strings.HasSuffix(name, ".js") { // a worker has a policy of its own
		h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'self'; frame-ancestors 'none'")
	}
	body := a.plain
	if a.br != nil {
		h.Add("Vary", "Accept-Encoding")
		switch {
		case accepts(r, "br"):
			h.Set("Content-Encoding", "br")
			body = a.br
		case accepts(r, "gzip"):
			h.Set("Content-Encoding", "gzip")
			body = a.zipped
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
	return true
}

func accepts(r *http.Request, want string) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(name, want) {
			return strings.ReplaceAll(params, " ", "") != "q=0"
		}
	}
	return false
}
