package gateway

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strings"
)

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "cannot encode the reply: "+err.Error())
		return
	}
	writeBody(w, code, body)
}

func writeBody(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// writeError answers with {"error":…}, as all routes but Piston's do.
func writeError(w http.ResponseWriter, code int, text string) {
	writeJSON(w, code, map[string]string{"error": text})
}

// errorWriter writes errors as the clients of a path expect them.
func errorWriter(r *http.Request) func(http.ResponseWriter, int, string) {
	if strings.HasPrefix(r.URL.Path, "/api/v2/") {
		return writeMessage
	}
	return writeError
}

// acceptsGzip says whether a client wants its answer compressed.
func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(name, "gzip") && strings.ReplaceAll(params, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// tagged answers with a body that has an entity tag: 304 where the client has it
// already, compressed where it likes. body is called only if it is needed.
func tagged(w http.ResponseWriter, r *http.Request, tag string, body func() ([]byte, error)) {
	zipped := acceptsGzip(r)
	if zipped {
		tag += "-gzip"
	}
	tag = `"` + tag + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Accept-Encoding")
	if matchesTag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	text, err := body()
	if err != nil {
		h.Del("ETag")
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	h.Set("Content-Type", "application/json")
	if !zipped {
		_, _ = w.Write(text)
		return
	}
	h.Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	_, _ = z.Write(text)
	_ = z.Close()
}

// matchesTag is If-None-Match's weak comparison (RFC 9110).
func matchesTag(header, tag string) bool {
	for _, part := range strings.Split(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == tag || part == "*" {
			return true
		}
	}
	return false
}
