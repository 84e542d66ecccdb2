package auth

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "sixteen bytes at least"

func signed(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func guard(t *testing.T) *Guard {
	t.Helper()
	g, err := NewGuard(Config{Fleet: "f", Secret: secret, DefaultScope: DefaultScope})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What each scope allows; an unknown one, and an empty list, nothing.
func TestMay(t *testing.T) {
	all := []Scope{ScopeRead, ScopeJobs, ScopeCode, ScopeRun, ScopeAdmin}
	for _, c := range []struct {
		has  []Scope
		want string
	}{
		{nil, ""},
		{[]Scope{}, ""},
		{[]Scope{"moon"}, ""},
		{[]Scope{ScopeRead}, "read"},
		{[]Scope{ScopeJobs, ScopeCode}, "jobs code"},
		{[]Scope{ScopeRun}, "jobs code run"},
		{[]Scope{"moon", ScopeAdmin}, "read jobs code run admin"},
		{DefaultScope, "read jobs code"},
	} {
		var may []string
		for _, s := range all {
			if (Caller{Scopes: c.has}).May(s) {
				may = append(may, string(s))
			}
		}
		if got := strings.Join(may, " "); got != c.want {
			t.Errorf("%v: %s, want %s", c.has, got, c.want)
		}
		if !(Caller{Scopes: c.has}).May(Public) {
			t.Errorf("%v may not what everybody may", c.has)
		}
	}
}

// The scope claim is a list or words; without one a token has the default.
func TestScopesOfTokens(t *testing.T) {
	for _, c := range []struct {
		scope any
		want  []Scope
	}{
		{nil, DefaultScope},
		{[]string{"read", "run"}, []Scope{ScopeRead, ScopeRun}},
		{" read  run ", []Scope{ScopeRead, ScopeRun}},
		{"", []Scope{}},
		{[]string{}, []Scope{}},
	} {
		claims := jwt.MapClaims{"sub": "x"}
		if c.scope != nil {
			claims["scope"] = c.scope
		}
		who, err := guard(t).Check(signed(t, claims))
		if err != nil || who.Sub != "x" || !slices.Equal(who.Scopes, c.want) {
			t.Errorf("%v: %+v, %v", c.scope, who, err)
		}
	}
	if _, err := guard(t).Check(signed(t, jwt.MapClaims{"scope": 5})); err == nil {
		t.Error("a number is taken for scopes")
	}
}

// The words of the older program.
func TestWhatIsWrongWithATokenIsSaid(t *testing.T) {
	now := time.Now()
	for want, token := range map[string]string{
		"token is expired":            signed(t, jwt.MapClaims{"exp": now.Add(-time.Hour).Unix()}),
		"token nbf validation failed": signed(t, jwt.MapClaims{"nbf": now.Add(time.Hour).Unix()}),
		"token iat validation failed": signed(t, jwt.MapClaims{"iat": now.Add(time.Hour).Unix()}),
		"token is unauthorized":       "a.b.c",
	} {
		if _, err := guard(t).Check(token); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "root"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard(t).Check(none); err == nil {
		t.Error("a token without a signature is taken")
	}
}

// A browser's cookie is Secure where it speaks TLS, to whatever is before us.
func TestCookieIsSecure(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "X-Forwarded-Proto: https": true, "X-Forwarded-Proto: HTTPS, http": true, "X-Forwarded-Proto: http, https": false, "Forwarded: for=1;proto=https": true,
	} {
		r, w := httptest.NewRequest("GET", "http://x/", nil), httptest.NewRecorder()
		if name, value, ok := strings.Cut(header, ": "); ok {
			r.Header.Set(name, value)
		}
		guard(t).SetCookie(w, r, "t", time.Time{})
		if c := w.Result().Cookies()[0]; c.Secure != want || !c.HttpOnly || c.Name != "runnel_f" {
			t.Errorf("%s: %+v", header, c)
		}
	}
}

func TestSecretsHaveALength(t *testing.T) {
	if _, err := NewGuard(Config{Fleet: "f", Secret: strings.Repeat("x", MinSecret-1)}); err == nil {
		t.Error("15 bytes are taken")
	}
	if _, err := NewGuard(Config{Fleet: "f", Secret: strings.Repeat("x", MinSecret)}); err != nil {
		t.Error(err)
	}
}
