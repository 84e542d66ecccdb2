package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A Scope is something that a token may allow.
type Scope string

// The scopes. Run has Jobs and Code in it, Admin has everything.
const (
	ScopeRead  Scope = "read"
	ScopeJobs  Scope = "jobs"
	ScopeCode  Scope = "code"
	ScopeRun   Scope = "run"
	ScopeAdmin Scope = "admin"
)

// public marks routes that need no token.
const public Scope = ""

// DefaultScope is what a token without a scope allows: what the older programs
// allowed everybody who had one.
var DefaultScope = []Scope{ScopeRead, ScopeJobs, ScopeCode}

// MinSecret is how long the shared secret must be, in bytes.
const MinSecret = 16

// What is wrong with a token, in the words of the older program.
var (
	errNoToken      = errors.New("no token found")
	errUnauthorized = errors.New("token is unauthorized")
	errExpired      = errors.New("token is expired")
	errNotBefore    = errors.New("token nbf validation failed")
	errIssuedAt     = errors.New("token iat validation failed")
)

// caller is who makes a request.
type caller struct {
	sub    string
	scopes []Scope
	cookie bool // let in by a cookie, which browsers send by themselves
}

// may says whether the caller has a scope.
func (c caller) may(want Scope) bool {
	for _, s := range c.scopes {
		switch {
		case s == want, s == ScopeAdmin, s == ScopeRun && (want == ScopeJobs || want == ScopeCode):
			return true
		}
	}
	return want == public
}

type callerKey struct{}

// callerOf is who makes the request of a context.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// claims of a token. A scope is a list, or words separated by spaces.
type claims struct {
	jwt.RegisteredClaims
	Scope scopeList `json:"scope,omitempty"`
}

type scopeList []Scope

func (l *scopeList) UnmarshalJSON(body []byte) error {
	var list []Scope
	if json.Unmarshal(body, &list) == nil {
		*l = list
		if list == nil {
			*l = scopeList{}
		}
		return nil
	}
	var words string
	if err := json.Unmarshal(body, &words); err != nil {
		return errors.New("scope is neither a list nor words")
	}
	*l = scopeList{}
	for _, w := range strings.Fields(words) {
		*l = append(*l, Scope(w))
	}
	return nil
}

// tokenOf is the token of a request: of the header, or of a cookie.
func (g *Gateway) tokenOf(r *http.Request) (token string, cookie bool) {
	if kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(kind, "Bearer") && token != "" {
		return strings.TrimSpace(token), false
	}
	for _, name := range []string{g.cookieName(), "jwt"} {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return c.Value, true
		}
	}
	return "", false
}

// cookieName is this fleet's own: cookies don't know ports.
func (g *Gateway) cookieName() string { return "runnel_" + g.space.Service() }

// authenticate finds out who makes a request.
func (g *Gateway) authenticate(r *http.Request) (caller, error) {
	token, cookie := g.tokenOf(r)
	if token == "" {
		return caller{}, errNoToken
	}
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return []byte(g.cfg.Secret), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuedAt())
	if err != nil {
		return caller{}, wordsOf(err)
	}
	who := caller{sub: c.Subject, scopes: c.Scope, cookie: cookie}
	if c.Scope == nil {
		who.scopes = g.cfg.DefaultScope
	}
	return who, nil
}

func wordsOf(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenMalformed), errors.Is(err, jwt.ErrTokenUnverifiable):
		return errUnauthorized
	case errors.Is(err, jwt.ErrTokenExpired):
		return errExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return errNotBefore
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return errIssuedAt
	}
	return errUnauthorized
}

// Token makes a token for a subject: with scopes, or without that claim for
// nil, and without an end for 0.
func Token(secret, sub string, scopes []Scope, life time.Duration) (string, error) {
	if len(secret) < MinSecret {
		return "", fmt.Errorf("the secret has %d bytes and must have at least %d", len(secret), MinSecret)
	}
	now := time.Now()
	c := jwt.MapClaims{"iat": now.Unix()}
	if sub != "" {
		c["sub"] = sub
	}
	if scopes != nil {
		c["scope"] = scopes
	}
	if life > 0 {
		c["exp"] = now.Add(life).Unix()
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(secret))
}

// KnownScope says whether a scope means something.
func KnownScope(s Scope) bool {
	return slices.Contains([]Scope{ScopeRead, ScopeJobs, ScopeCode, ScopeRun, ScopeAdmin}, s)
}

// guard lets a request through to a route if its caller may.
func (g *Gateway) guard(want Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := g.authenticate(r)
		anonymous := want == public || want == ScopeCode && g.cfg.AnonymousCode
		switch {
		case err != nil && !anonymous:
			w.Header().Set("WWW-Authenticate", "Bearer")
			errorWriter(r)(w, http.StatusUnauthorized, err.Error())
			return
		case err != nil && want != public:
			if err := g.guests.Check(r); err != nil && !g.allowsAnyOrigin() {
				errorWriter(r)(w, http.StatusForbidden, "a page from elsewhere may not do this without a token: "+err.Error())
				return
			}
		case err == nil && who.cookie:
			if err := g.crossOrigin.Check(r); err != nil {
				errorWriter(r)(w, http.StatusForbidden, "a page from elsewhere may not use this cookie: "+err.Error())
				return
			}
		}
		if err == nil && !who.may(want) && !anonymous {
			errorWriter(r)(w, http.StatusForbidden, fmt.Sprintf("the token does not allow this: it needs scope %s", want))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}
