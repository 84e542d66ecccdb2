// Package reply writes the gateway's answers: JSON, errors as each client expects
// them, entity tags and compression, within bounds of size and time.
package reply

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// The times that a client gets for its request's body, and for taking each piece
// of the answer.
const (
	bodyTime  = 30 * time.Second
	writeTime = 30 * time.Second
)

// ReadBody reads a request's body, of so many bytes at most, within bodyTime. One
// that says that it has more is not waited for.
func ReadBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, &http.MaxBytesError{Limit: most}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	// Now net/http waits for the client to go away; that has no end.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, err
}

// IsTooLarge says whether a body had more than ReadBody takes.
func IsTooLarge(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}

// patientWriter gives a client writeTime for each piece of an answer, however
// long the whole takes.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	client  context.Context // ends when the client has gone away
}

// WriteHeader begins the answer. That a client has gone away makes the last thing
// fail that was done for it, which is no fault of ours; one that only stopped to
// send sees its connection end.
func (p *patientWriter) WriteHeader(code int) {
	if code >= http.StatusInternalServerError && p.client.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	p.ResponseWriter.WriteHeader(code)
}

func (p *patientWriter) extend() { _ = p.control.SetWriteDeadline(time.Now().Add(writeTime)) }

func (p *patientWriter) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WithDeadlines: no client holds a connection for ever.
func WithDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &patientWriter{w, http.NewResponseController(w), r.Context()}
		if r.ContentLength != 0 {
			_ = p.control.SetReadDeadline(time.Now().Add(bodyTime))
		}
		p.extend()
		next.ServeHTTP(p, r)
		p.extend()
	})
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		Error(w, http.StatusInternalServerError, "cannot encode the reply: "+err.Error())
		return
	}
	Body(w, code, body)
}

// Body answers with JSON that is encoded already.
func Body(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// Error answers with {"error":…}, as all routes but Piston's do.
func Error(w http.ResponseWriter, code int, text string) {
	JSON(w, code, map[string]string{"error": text})
}

// Message answers with {"message":…}, as Piston does.
func Message(w http.ResponseWriter, code int, text string) {
	JSON(w, code, map[string]string{"message": text})
}

// Refusal writes errors as the clients of a path expect them.
func Refusal(r *http.Request) func(http.ResponseWriter, int, string) {
	if IsPiston(r) {
		return Message
	}
	return Error
}

// IsPiston says whether a request is one to Piston's routes.
func IsPiston(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/v2/") }

// acceptsGzip says whether a client wants its answer compressed.
func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, weighed := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(params, " ", "")), "q=")
			return !weighed || strings.Trim(q, "0.") != "" // of 0.000 to 1
		}
	}
	return false
}

// Tagged answers with a body that has an entity tag: 304 where the client has it
// already, compressed where it likes. body is called only if it is needed.
func Tagged(w http.ResponseWriter, r *http.Request, tag string, body func() ([]byte, error)) {
	zipped := acceptsGzip(r)
	if SetTag(w, r, tag, zipped) {
		return
	}
	h := w.Header()
	text, err := body()
	if err != nil {
		h.Del("ETag")
		Error(w, http.StatusServiceUnavailable, err.Error())
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

// SetTag gives an answer its entity tag, which differs by encoding, and answers
// with 304 where the client has it already.
func SetTag(w http.ResponseWriter, r *http.Request, tag string, zipped bool) (done bool) {
	tag = Quoted(tag, zipped)
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Accept-Encoding")
	if matchesTag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}

// Quoted is an entity tag as a header has it.
func Quoted(tag string, zipped bool) string {
	if zipped {
		tag += "-gzip"
	}
	return `"` + tag + `"`
}

// Text streams an answer, compressed where the client likes.
type Text struct {
	*bufio.Writer
	z *gzip.Writer
}

// Begin begins an answer that is streamed. It is done where the client has it
// already, or wants its headers only.
func Begin(w http.ResponseWriter, r *http.Request, tag, contentType string) (out *Text, done bool) {
	zipped := acceptsGzip(r)
	if SetTag(w, r, tag, zipped) {
		return nil, true
	}
	w.Header().Set("Content-Type", contentType)
	out = &Text{Writer: bufio.NewWriterSize(w, 64<<10)}
	if zipped {
		w.Header().Set("Content-Encoding", "gzip")
		out.z, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
		out.Reset(out.z)
	}
	return out, r.Method == http.MethodHead
}

// Close sends what is left.
func (o *Text) Close() error {
	err := o.Flush()
	if err == nil && o.z != nil {
		err = o.z.Close()
	}
	return err
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
