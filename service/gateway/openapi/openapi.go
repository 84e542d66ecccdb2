// Package openapi describes every route of the gateway, in OpenAPI 3.1: those of
// huma describe themselves, the older programs' are in a table here.
package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/room"
)

// scheme is the name of the way to say who asks.
const scheme = "token"

// New makes a description of nothing yet.
func New() *huma.OpenAPI {
	doc := huma.DefaultConfig("Runnel", "v1").OpenAPI
	doc.Info.Description = "A fleet of runners over HTTP. A token's scopes say what it allows; an error is {\"error\": words}, below /api/v2 {\"message\": words}."
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		scheme: {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
	}
	return doc
}

// Needs is what an operation needs of its caller.
func Needs(scope auth.Scope) []map[string][]string {
	switch scope {
	case auth.Public:
		return []map[string][]string{}
	case auth.SignedIn:
		return []map[string][]string{{scheme: {}}}
	}
	return []map[string][]string{{scheme: {string(scope)}}}
}

// Write puts in the routes that are not described yet, and gives the document.
func Write(doc *huma.OpenAPI, table []room.Route) ([]byte, error) {
	for _, row := range table {
		path := strings.TrimSuffix(row.Path, "{$}")
		if item := doc.Paths[path]; item != nil && operationOf(item, row.Method) != nil {
			continue
		}
		p, ok := plain[row.Method+" "+strings.Replace(path, "/api/v2/piston/", "/api/v2/", 1)]
		if !ok {
			return nil, fmt.Errorf("nobody has described %s %s", row.Method, row.Path)
		}
		doc.AddOperation(p.operation(doc.Components.Schemas, row, path))
	}
	return json.Marshal(doc)
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodDelete:
		return item.Delete
	case http.MethodPut:
		return item.Put
	}
	return nil
}

// route describes one that a plain handler serves.
type route struct {
	summary string
	query   string // names, with * those that are required
	body    any    // of the request, nil for none
	reply   any    // of a success; a string is text of that type
	status  int    // of a success; 0: 200
}

// problem is the answer of those that fail.
type problem struct {
	Error string `json:"error"`
}

// pistonProblem is Piston's.
type pistonProblem struct {
	Message string `json:"message"`
}

func (p route) operation(r huma.Registry, row room.Route, path string) *huma.Operation {
	op := &huma.Operation{
		Method: row.Method, Path: path, Summary: p.summary, Security: Needs(row.Scope),
		OperationID: strings.NewReplacer("/", "-", "{", "", "}", "").Replace(strings.ToLower(row.Method) + path),
		Responses:   map[string]*huma.Response{},
	}
	for _, part := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: text()})
		}
	}
	for _, name := range strings.Fields(p.query) {
		name, required := strings.CutSuffix(name, "*")
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Required: required, Schema: text()})
	}
	if p.body != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: content(r, p.body)}
	}
	status := http.StatusOK
	if p.status != 0 {
		status = p.status
	}
	op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: content(r, p.reply)}
	var failed any = problem{}
	if strings.HasPrefix(path, "/api/v2/") {
		failed = pistonProblem{}
	}
	op.Responses["default"] = &huma.Response{Description: "Error", Content: content(r, failed)}
	return op
}

func text() *huma.Schema { return &huma.Schema{Type: huma.TypeString} }

func content(r huma.Registry, of any) map[string]*huma.MediaType {
	if of == nil {
		return nil
	}
	if kind, ok := of.(string); ok {
		return map[string]*huma.MediaType{kind: {Schema: text()}}
	}
	return map[string]*huma.MediaType{"application/json": {Schema: r.Schema(reflect.TypeOf(of), true, "")}}
}
