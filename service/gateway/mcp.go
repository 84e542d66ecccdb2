package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/mcp"
)

// maxMessage bounds a message of the Model Context Protocol.
const maxMessage = 1 << 20

// agents is the fleet as tools for agents. Anybody with a token may knock; each
// tool asks for the scope that it needs.
func agents(h *room.House) []room.Route {
	server := mcp.New(mcp.Config{
		Client:  h.Client,
		Version: h.Version,
		Logger:  h.Log,
		User:    func(ctx context.Context) string { return auth.CallerOf(ctx).Sub },
		May: func(ctx context.Context, need mcp.Need) error {
			if !auth.CallerOf(ctx).May(auth.Scope(need)) {
				return fmt.Errorf("the token does not allow this: it needs scope %s", need)
			}
			return nil
		},
	}).Handler()
	return []room.Route{{Method: "POST", Path: "/mcp", Scope: auth.SignedIn, Handle: func(w http.ResponseWriter, r *http.Request) {
		body, err := reply.ReadBody(w, r, maxMessage)
		switch {
		case reply.IsTooLarge(err):
			reply.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxMessage))
			return
		case err != nil:
			reply.Error(w, http.StatusBadRequest, "cannot read the request")
			return
		case bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")):
			// Thousands of calls would fit.
			reply.Error(w, http.StatusBadRequest, "several messages in one are not supported: send one a request")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(h.Life, cancel)()
		r = r.WithContext(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		server.ServeHTTP(&inJSON{ResponseWriter: w}, r)
	}}}
}

// inJSON answers with {"error":…} where the library refuses a message in plain text.
type inJSON struct {
	http.ResponseWriter
	refused int // with this status, which is not written yet
}

func (j *inJSON) WriteHeader(code int) {
	if code >= http.StatusBadRequest && strings.HasPrefix(j.Header().Get("Content-Type"), "text/plain") {
		j.refused = code
		return
	}
	j.ResponseWriter.WriteHeader(code)
}

func (j *inJSON) Write(text []byte) (int, error) {
	if j.refused != 0 {
		j.Header().Del("Content-Length")
		reply.Error(j.ResponseWriter, j.refused, strings.TrimSpace(string(text)))
		return len(text), nil
	}
	return j.ResponseWriter.Write(text)
}

// Unwrap is for http.ResponseController.
func (j *inJSON) Unwrap() http.ResponseWriter { return j.ResponseWriter }
