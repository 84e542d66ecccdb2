// Package api answers our own routes, those below /api/v1.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/openapi"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
)

type server struct{ *room.House }

// bodyTime is how long a request's body may take to come.
const bodyTime = 30 * time.Second

// maxBody bounds what a request may send.
const maxBody = 1 << 20

// Routes are the room's.
func Routes(h *room.House) []room.Route {
	s := &server{h}
	d := newDesk(h.Doc)
	s.describeRunners(d)
	s.describeGlances(d)
	s.describeMaint(d)
	s.describeRuns(d)
	s.describeLastLines(d)
	s.describeJobs(d)
	s.describeQueue(d)
	s.describeSchedules(d)
	s.describeGraphs(d)
	return d.routes
}

// desk collects the routes that huma serves. It is its adapter: what it is given
// become rows of the gateway's table.
type desk struct {
	api    huma.API
	routes []room.Route
}

func newDesk(doc *huma.OpenAPI) *desk {
	useOurErrors()
	d := &desk{}
	config := huma.DefaultConfig("", "")
	config.OpenAPI = doc
	// No page that loads from elsewhere, and no $schema in replies.
	config.DocsPath, config.SchemasPath, config.OpenAPIPath, config.CreateHooks = "", "", "", nil
	config.Formats = map[string]huma.Format{"application/json": {Marshal: writeJSON, Unmarshal: json.Unmarshal}}
	d.api = huma.NewAPI(config, d)
	return d
}

// writeJSON writes what the gateway's other routes write: no newline at the end.
func writeJSON(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(body)
	}
	return err
}

// Handle is huma.Adapter.
func (d *desk) Handle(op *huma.Operation, handler func(huma.Context)) {
	scope, _ := op.Metadata[scopeKey].(auth.Scope)
	d.routes = append(d.routes, room.Route{Method: op.Method, Path: op.Path, Scope: scope, Handle: func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody { // it is not waited for
			reply.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxBody))
			return
		}
		r.Body = &wholeBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
		if op.RequestBody != nil && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			r.Header.Set("Content-Type", "application/json") // what it says otherwise is not checked
		}
		handler(humago.NewContext(op, r, w))
	}})
}

// ServeHTTP is huma.Adapter; the gateway's own table serves.
func (d *desk) ServeHTTP(http.ResponseWriter, *http.Request) {}

// wholeBody ends the deadline of a body that has come: from then on net/http
// waits for the client to go away, and that has no end.
type wholeBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

const scopeKey = "scope"

// row describes one route.
type row struct {
	id      string // of the operation, such as list-runs
	method  string
	path    string
	scope   auth.Scope
	summary string
	status  int // of success; 0: 200
}

// add puts a route on the desk.
func add[I, O any](d *desk, r row, handle func(context.Context, *I) (*O, error)) {
	huma.Register(d.api, huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, DefaultStatus: r.status,
		Metadata: map[string]any{scopeKey: r.scope}, Security: openapi.Needs(r.scope),
		MaxBodyBytes: maxBody, BodyReadTimeout: bodyTime,
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, refusal(err)
		}
		return out, nil
	})
}

// answer is a reply with a body alone.
type answer[T any] struct{ Body T }
