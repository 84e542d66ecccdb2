package auth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func guarded(t *testing.T, cfg Config) *Guard {
	t.Helper()
	cfg.Fleet, cfg.Secret = "f", secret
	g, err := NewGuard(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// request is one with headers, each as Name: value.
func request(method, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://here.example"+path, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// knock is what becomes of a request to a route that needs a scope.
func knock(g *Guard, want Scope, r *http.Request) string {
	w := httptest.NewRecorder()
	g.Wrap(want, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := CallerOf(r.Context())
		_, _ = fmt.Fprintf(w, "%s %v", who.Sub, who.Cookie)
	})).ServeHTTP(w, r)
	return fmt.Sprintf("%d %s", w.Code, w.Body)
}

// Where a token may stand: in the header, whatever the case of its scheme, or in
// a cookie; never in the query. The header counts before a cookie.
func TestWhereTokensStand(t *testing.T) {
	g := guarded(t, Config{})
	mine, other := signed(t, jwt.MapClaims{"sub": "me"}), signed(t, jwt.MapClaims{"sub": "other"})
	old := signed(t, jwt.MapClaims{"sub": "me", "exp": time.Now().Add(-time.Hour).Unix()})
	const none, wrong = `401 {"error":"no token found"}`, `401 {"error":"token is unauthorized"}`
	for _, c := range []struct{ path, headers, want string }{
		{"/x", "Authorization: Bearer " + mine, "200 me false"},
		{"/x", "Authorization: bearer " + mine, "200 me false"},
		{"/x", "Authorization: BEARER " + mine, "200 me false"},
		{"/x", "authorization: Bearer  " + mine, "200 me false"},
		{"/x", "Authorization: Basic " + mine, none},
		{"/x", "Authorization: Bearer", none},
		{"/x", "Authorization: " + mine, none},
		{"/x", "Authorization: Bearer " + mine + "x", wrong},
		{"/x?jwt=" + mine + "&token=" + mine, "A: b", none},
		{"/x", "Cookie: jwt=" + mine, "200 me true"},
		{"/x", "Cookie: runnel_f=" + mine, "200 me true"},
		{"/x", "Cookie: runnel_g=" + mine, none},
		{"/x", "Cookie: jwt=", none},
		{"/x", "Cookie: runnel_f=" + mine + "; jwt=" + other, "200 me true"},
		{"/x", "Cookie: runnel_f=" + old + "; jwt=" + other, "200 other true"},
		{"/x", "Cookie: runnel_f=" + old, `401 {"error":"token is expired"}`},
		{"/x", "Cookie: runnel_f=" + old + "; jwt=nonsense", `401 {"error":"token is expired"}`},
		{"/x", "Cookie: jwt=" + other + "\nAuthorization: Bearer " + mine, "200 me false"},
		{"/x", "Cookie: jwt=" + mine + "\nAuthorization: Bearer nonsense", wrong},
		{"/api/v2/runtimes", "Authorization: " + mine, "200 me false"},
		{"/api/v2/runtimes", "Authorization: some key", `401 {"message":"no token found"}`},
	} {
		if got := knock(g, SignedIn, request("GET", c.path, strings.Split(c.headers, "\n")...)); got != c.want {
			t.Errorf("%s with %.40s: %s, want %s", c.path, c.headers, got, c.want)
		}
	}
}

// Times are held to as they are: a token that has just ended is over.
func TestTimesOfTokens(t *testing.T) {
	g, now := guarded(t, Config{}), time.Now()
	at := func(d time.Duration) float64 { return float64(now.Add(d).UnixMilli()) / 1000 }
	for _, c := range []struct {
		claims jwt.MapClaims
		want   string
	}{
		{jwt.MapClaims{"exp": at(time.Minute), "nbf": at(-time.Minute), "iat": at(-time.Minute)}, ""},
		{jwt.MapClaims{"exp": at(-2 * time.Second)}, "token is expired"},
		{jwt.MapClaims{"nbf": at(time.Minute)}, "token nbf validation failed"},
		{jwt.MapClaims{"iat": at(time.Minute)}, "token iat validation failed"},
		{jwt.MapClaims{"exp": "soon"}, "token is unauthorized"},
		{jwt.MapClaims{"sub": 5}, "token is unauthorized"},
		{jwt.MapClaims{"aud": "somebody", "iss": "anybody", "jti": "1"}, ""},
	} {
		_, err := g.Check(signed(t, c.claims))
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("%v: %v, want %q", c.claims, err, c.want)
		}
	}
}

// Only HS256 of this secret is a signature.
func TestSignatures(t *testing.T) {
	for name, sign := range map[string]func() (string, error){
		"another secret": func() (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{}).SignedString([]byte("another secret of enough bytes"))
		},
		"HS512": func() (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodHS512, jwt.MapClaims{}).SignedString([]byte(secret))
		},
		"none": func() (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{}).SignedString(jwt.UnsafeAllowNoneSignatureType)
		},
		"what must be understood": func() (string, error) {
			token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{})
			token.Header["crit"] = []string{"b64"}
			return token.SignedString([]byte(secret))
		},
		"cut off": func() (string, error) {
			text := signed(t, jwt.MapClaims{})
			return text[:strings.LastIndex(text, ".")+1], nil
		},
	} {
		text, err := sign()
		if err != nil {
			t.Fatal(err)
		}
		if who, err := guarded(t, Config{}).Check(text); err == nil || err.Error() != "token is unauthorized" {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
}

func TestScopesOfRoutes(t *testing.T) {
	g := guarded(t, Config{})
	for _, c := range []struct {
		scope any
		want  Scope
		code  string
	}{
		{"read", ScopeRead, "200"}, {"read", ScopeJobs, "403"}, {"jobs", ScopeRead, "403"}, {"run", ScopeCode, "200"}, {"run", ScopeAdmin, "403"},
		{"admin", ScopeRun, "200"}, {"moon", ScopeRead, "403"}, {"moon", SignedIn, "200"}, {"", Public, "200"}, {nil, ScopeCode, "200"}, {nil, ScopeRun, "403"},
	} {
		claims := jwt.MapClaims{"sub": "me"}
		if c.scope != nil {
			claims["scope"] = c.scope
		}
		got := knock(g, c.want, request("POST", "/x", "Authorization: Bearer "+signed(t, claims)))
		if !strings.HasPrefix(got, c.code) || c.code == "403" && !strings.Contains(got, "it needs scope "+string(c.want)) {
			t.Errorf("%v at a route for %s: %s, want %s", c.scope, c.want, got, c.code)
		}
	}
}

// A cookie that another site's page has sent along changes nothing; a bearer token
// is meant wherever it comes from.
func TestPagesFromElsewhere(t *testing.T) {
	g := guarded(t, Config{TrustedOrigins: []string{"https://trusted.example"}})
	token := signed(t, jwt.MapClaims{"sub": "me"})
	for _, c := range []struct {
		method, headers, code string
	}{
		{"POST", "Cookie: jwt=" + token, "200"}, // no browser
		{"POST", "Cookie: jwt=" + token + "\nSec-Fetch-Site: same-origin", "200"},
		{"POST", "Cookie: jwt=" + token + "\nSec-Fetch-Site: none", "200"},
		{"POST", "Cookie: jwt=" + token + "\nSec-Fetch-Site: cross-site", "403"},
		{"POST", "Cookie: jwt=" + token + "\nSec-Fetch-Site: same-site", "403"},
		{"POST", "Cookie: jwt=" + token + "\nOrigin: https://bad.example", "403"},
		{"POST", "Cookie: jwt=" + token + "\nOrigin: null", "403"},
		{"POST", "Cookie: jwt=" + token + "\nOrigin: http://here.example", "200"},
		{"POST", "Cookie: jwt=" + token + "\nSec-Fetch-Site: cross-site\nOrigin: https://trusted.example", "200"},
		{"DELETE", "Cookie: jwt=" + token + "\nSec-Fetch-Site: cross-site", "403"},
		{"GET", "Cookie: jwt=" + token + "\nSec-Fetch-Site: cross-site", "200"}, // it can't read the answer
		{"POST", "Authorization: Bearer " + token + "\nSec-Fetch-Site: cross-site", "200"},
	} {
		if got := knock(g, ScopeJobs, request(c.method, "/x", strings.Split(c.headers, "\n")...)); !strings.HasPrefix(got, c.code) {
			t.Errorf("%s with %s: %s, want %s", c.method, strings.ReplaceAll(c.headers, token, "…"), got, c.code)
		}
	}
}

// Anybody runs code where that is allowed, and nothing else; a page from elsewhere
// must be named for it.
func TestAnonymousCode(t *testing.T) {
	g := guarded(t, Config{AnonymousCode: true, CORSOrigins: []string{"https://canvas.example"}})
	anywhere := guarded(t, Config{AnonymousCode: true, CORSOrigins: []string{"*"}})
	readOnly := signed(t, jwt.MapClaims{"scope": "read"})
	for _, c := range []struct {
		guard *Guard
		scope Scope
		head  string
		code  string
	}{
		{g, ScopeCode, "A: b", "200"},
		{g, ScopeRead, "A: b", "401"},
		{g, ScopeJobs, "A: b", "401"},
		{g, ScopeCode, "Origin: https://canvas.example", "200"},
		{g, ScopeCode, "Origin: https://other.example", "403"},
		{anywhere, ScopeCode, "Origin: https://other.example", "200"},
		{g, ScopeCode, "Authorization: Bearer nonsense", "200"},
		{g, ScopeCode, "Authorization: Bearer " + readOnly, "200"},
		{guarded(t, Config{}), ScopeCode, "A: b", "401"},
	} {
		if got := knock(c.guard, c.scope, request("POST", "/api/v1/run", c.head)); !strings.HasPrefix(got, c.code) {
			t.Errorf("%s with %.40s: %s, want %s", c.scope, c.head, got, c.code)
		}
	}
}

// A page elsewhere may read answers where its origin is named, and never with the
// cookie.
func TestCORS(t *testing.T) {
	named := guarded(t, Config{CORSOrigins: []string{"https://a.example"}})
	for _, c := range []struct {
		guard        *Guard
		origin, want string
		vary         bool
	}{
		{named, "https://a.example", "https://a.example", true},
		{named, "https://b.example", "", true},
		{named, "", "", true},
		{guarded(t, Config{CORSOrigins: []string{"*"}}), "https://b.example", "*", false},
		{guarded(t, Config{}), "https://a.example", "", false},
	} {
		h := http.Header{}
		c.guard.AllowOrigin(h, request("GET", "/", "Origin: "+c.origin))
		if h.Get("Access-Control-Allow-Origin") != c.want || (h.Get("Vary") == "Origin") != c.vary || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%q: %v", c.origin, h)
		}
		for _, asks := range []bool{true, false} {
			r, w := request("OPTIONS", "/", "Origin: "+c.origin), httptest.NewRecorder()
			if asks {
				r.Header.Set("Access-Control-Request-Method", "POST")
			}
			c.guard.AllowOrigin(w.Header(), r)
			if was := c.guard.Preflight(w, r, "GET, POST"); was != (asks && c.want != "") {
				t.Errorf("%q, which asks %v: %v", c.origin, asks, was)
			} else if was && (w.Code != 204 || w.Header().Get("Access-Control-Allow-Methods") != "GET, POST" || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "Last-Event-ID")) {
				t.Errorf("%q: %d %v", c.origin, w.Code, w.Header())
			}
		}
	}
	for _, bad := range []string{"a.example", "https://a.example/", "https://a.example/path", ""} {
		for _, cfg := range []Config{{TrustedOrigins: []string{bad}}, {CORSOrigins: []string{bad}}} {
			cfg.Fleet, cfg.Secret = "f", secret
			if _, err := NewGuard(cfg); err == nil {
				t.Errorf("%q is taken for an origin", bad)
			}
		}
	}
}

// What Token makes, Check reads; without a life it has no end.
func TestTokens(t *testing.T) {
	for _, c := range []struct {
		scopes []Scope
		life   time.Duration
	}{{nil, 0}, {[]Scope{}, time.Hour}, {[]Scope{ScopeRun}, time.Hour}} {
		text, err := Token(secret, "me", c.scopes, c.life)
		if err != nil {
			t.Fatal(err)
		}
		who, err := Verify(secret, text)
		if err != nil || who.Sub != "me" || (who.Scopes == nil) != (c.scopes == nil) || len(who.Scopes) != len(c.scopes) || who.Until.IsZero() != (c.life == 0) {
			t.Errorf("%+v: %+v, %v", c, who, err)
		}
	}
	if _, err := Token("short", "me", nil, 0); err == nil {
		t.Error("a short secret signs")
	}
	for scope, want := range map[Scope]bool{ScopeRead: true, ScopeAdmin: true, "moon": false, Public: false, SignedIn: false} {
		if KnownScope(scope) != want {
			t.Errorf("%q is known: %v", scope, !want)
		}
	}
}
