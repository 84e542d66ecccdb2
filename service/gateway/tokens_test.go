package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestTokens(t *testing.T) {
	w := open(t)
	make := func(secret, sub string, scopes []auth.Scope, life time.Duration) string {
		text, err := auth.Token(secret, sub, scopes, life)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	expired := make(secret, "x", nil, time.Nanosecond)
	good := make(secret, "x", nil, 0)
	for _, c := range []struct {
		name, header string
		code         int
		want         string
	}{
		{"none", "X: y", 401, `{"error":"no token found"}`},
		{"another secret", "Authorization: Bearer " + make("another secret of 16", "x", nil, 0), 401, `{"error":"token is unauthorized"}`},
		{"garbage", "Authorization: Bearer a.b.c", 401, `{"error":"token is unauthorized"}`},
		{"expired", "Authorization: Bearer " + expired, 401, `{"error":"token is expired"}`},
		{"good", "Authorization: Bearer " + good, 200, ""},
		{"lower case", "Authorization: bearer " + good, 200, ""},
		{"cookie of old clients", "Cookie: jwt=" + good, 200, ""},
		{"our cookie", "Cookie: runnel_runner=" + good, 200, ""},
		{"in the query", "X: y", 401, ""},
		{"unknown scope", "Authorization: Bearer " + make(secret, "x", []auth.Scope{"moon"}, 0), 403, `{"error":`},
		{"empty scope", "Authorization: Bearer " + make(secret, "x", []auth.Scope{}, 0), 403, `{"error":`},
		{"jobs is not read", "Authorization: Bearer " + make(secret, "x", []auth.Scope{auth.ScopeJobs}, 0), 403, `{"error":`},
		{"admin", "Authorization: Bearer " + make(secret, "x", []auth.Scope{auth.ScopeAdmin}, 0), 200, ""},
	} {
		path := "/pipelines/jobs"
		if c.name == "in the query" {
			path += "?jwt=" + good
		}
		if c.name == "expired" {
			rig.Eventually(t, "the token is expired", func() bool {
				res, _ := w.do("GET", path, "", c.header)
				return res.StatusCode == 401
			})
		}
		if res, text := w.do("GET", path, "", c.header); res.StatusCode != c.code || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: %d %s; want %d %s", c.name, res.StatusCode, text, c.code, c.want)
		}
	}
	// A page from elsewhere can't use the cookie; a token needs no such guard.
	for _, c := range []struct {
		header string
		code   int
	}{{"Cookie: jwt=" + good, 403}, {"Authorization: Bearer " + good, 400}} {
		if res, text := w.do("POST", "/pipelines/schedule", `{"pipeline":"nope"}`, c.header, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"); res.StatusCode != c.code {
			t.Errorf("cross-origin with %.10s: %d %s, want %d", c.header, res.StatusCode, text, c.code)
		}
	}
	if _, err := gateway.New(rig.Within(t, time.Minute), w.fleet.Conn(), gateway.Config{Secret: "short"}); err == nil {
		t.Error("a secret of five bytes was taken")
	}
}
