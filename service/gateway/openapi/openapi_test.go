package openapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/room"
)

// document is what a reader takes of a description.
type document struct {
	OpenAPI    string `json:"openapi"`
	Paths      map[string]map[string]operation
	Components struct {
		Schemas         map[string]json.RawMessage
		SecuritySchemes map[string]map[string]string
	}
}

type operation struct {
	OperationID string `json:"operationId"`
	Summary     string
	Parameters  []struct {
		Name, In string
		Required bool
	}
	RequestBody *struct {
		Required bool
		Content  map[string]json.RawMessage
	}
	Responses map[string]struct {
		Content map[string]struct {
			Schema struct{ Type any }
		}
	}
	Security []map[string][]string
}

func written(t *testing.T, routes ...room.Route) document {
	t.Helper()
	text, err := Write(New(), routes)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func row(method, path string, scope auth.Scope) room.Route {
	return room.Route{Method: method, Path: path, Scope: scope, Handle: func(http.ResponseWriter, *http.Request) {}}
}

// Every plain route can be described, each with a name of its own, and with what
// each of its failures says.
func TestEveryPlainRouteIsDescribed(t *testing.T) {
	var all []room.Route
	for name := range plain {
		method, path, _ := strings.Cut(name, " ")
		all = append(all, row(method, path, auth.ScopeRead))
		if rest, piston := strings.CutPrefix(path, "/api/v2/"); piston {
			all = append(all, row(method, "/api/v2/piston/"+rest, auth.ScopeRead))
		}
	}
	d := written(t, all...)
	if d.OpenAPI != "3.1.0" || d.Components.SecuritySchemes[scheme]["bearerFormat"] != "JWT" {
		t.Errorf("it is %s, %v", d.OpenAPI, d.Components.SecuritySchemes)
	}
	ids := map[string]string{}
	for _, one := range all {
		op, ok := d.Paths[one.Path][strings.ToLower(one.Method)]
		if !ok {
			t.Errorf("%s %s is not in the document", one.Method, one.Path)
			continue
		}
		if other := ids[op.OperationID]; op.OperationID == "" || op.Summary == "" || other != "" {
			t.Errorf("%s %s is called %q, as %q; its summary: %q", one.Method, one.Path, op.OperationID, other, op.Summary)
		}
		ids[op.OperationID] = one.Path
		if _, ok := op.Responses["default"].Content["application/json"]; !ok || len(op.Responses) != 2 {
			t.Errorf("%s %s has the answers %v", one.Method, one.Path, op.Responses)
		}
	}
}

func TestWhatARouteSays(t *testing.T) {
	d := written(t,
		row("GET", "/pipelines/{$}", auth.ScopeRead),
		row("GET", "/api/v1/runs/{id}/log", auth.ScopeRead),
		row("POST", "/pipelines/schedule", auth.ScopeJobs),
		row("POST", "/signout", auth.Public),
		row("GET", "/api/v1/me", auth.SignedIn),
		row("GET", "/job/logs", auth.ScopeRead),
		row("POST", "/api/v2/piston/execute", auth.ScopeCode),
	)
	if _, ok := d.Paths["/pipelines/"]["get"]; !ok {
		t.Error("a pattern's {$} is not part of the path")
	}
	log := d.Paths["/api/v1/runs/{id}/log"]["get"]
	if len(log.Parameters) != 4 || log.Parameters[0].Name != "id" || log.Parameters[0].In != "path" || !log.Parameters[0].Required || log.Parameters[1].Required {
		t.Errorf("the parameters of a log: %+v", log.Parameters)
	}
	if got := log.Responses["200"].Content["text/plain"].Schema.Type; got != "string" {
		t.Errorf("a log is %q", got)
	}
	var required []string
	for _, p := range d.Paths["/job/logs"]["get"].Parameters {
		if p.Required {
			required = append(required, p.Name)
		}
	}
	if !slices.Equal(required, []string{"id", "task"}) {
		t.Errorf("/job/logs must have %v", required)
	}
	schedule := d.Paths["/pipelines/schedule"]["post"]
	if _, ok := schedule.Responses["202"]; !ok || schedule.RequestBody == nil || !schedule.RequestBody.Required {
		t.Errorf("schedule: %+v", schedule)
	}
	for path, want := range map[string]string{"/signout": "[]", "/api/v1/me": `[{"token":[]}]`, "/pipelines/schedule": `[{"token":["jobs"]}]`} {
		for _, op := range d.Paths[path] {
			if got, _ := json.Marshal(op.Security); string(got) != want {
				t.Errorf("%s needs %s, want %s", path, got, want)
			}
		}
	}
	if out := d.Paths["/signout"]["post"].Responses["204"]; out.Content != nil {
		t.Errorf("a sign-out answers with %v", out.Content)
	}
	for name, member := range map[string]string{"Problem": "error", "PistonProblem": "message"} {
		if !strings.Contains(string(d.Components.Schemas[name]), `"`+member+`"`) {
			t.Errorf("%s is %s", name, d.Components.Schemas[name])
		}
	}
}

// A route that describes itself is left as it is; one that nobody has described is
// found before it is served.
func TestOthersDescribeThemselves(t *testing.T) {
	doc := New()
	for _, method := range []string{"GET", "POST", "DELETE", "PUT"} {
		doc.AddOperation(&huma.Operation{Method: method, Path: "/own", OperationID: "own-" + method})
	}
	text, err := Write(doc, []room.Route{row("GET", "/own", ""), row("POST", "/own", ""), row("DELETE", "/own", ""), row("PUT", "/own", "")})
	if err != nil || !strings.Contains(string(text), `"own-GET"`) {
		t.Errorf("%v: %s", err, text)
	}
	for _, missing := range []room.Route{row("PATCH", "/own", ""), row("GET", "/nowhere", ""), row("PUT", "/pipelines", "")} {
		if _, err := Write(doc, []room.Route{missing}); err == nil || err.Error() != "nobody has described "+missing.Method+" "+missing.Path {
			t.Errorf("%s %s: %v", missing.Method, missing.Path, err)
		}
	}
}
