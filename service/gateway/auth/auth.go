// Package auth identifies the callers of the gateway and says what they may do: tokens
// and their scopes, cookies, and pages of other origins.
package auth

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

	"github.com/runnel-io/runnel/service/gateway/reply"
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

// Public marks routes that need no token.
const Public Scope = ""

// SignedIn marks routes that need a token, whatever it allows.
const SignedIn Scope = "-"

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

// Caller is who makes a request.
type Caller struct {
	Sub    string
	Scopes []Scope
	Until  time.Time // the token's end; zero if it has none
	Cookie bool      // let in by a cookie, which browsers send by themselves
}

// May says whether the Caller has a scope.
func (c Caller) May(want Scope) bool {
	for _, s := range c.Scopes {
		switch {
		case s == want, s == ScopeAdmin, s == ScopeRun && (want == ScopeJobs || want == ScopeCode):
			return true
		}
	}
	return want == Public || want == SignedIn
}

type callerKey struct{}

// CallerOf is who makes the request of a context.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
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

// tokensOf are the tokens of a request: that of the header, or those of cookies.
func (g *Guard) tokensOf(r *http.Request) (tokens []string, cookie bool) {
	header := r.Header.Get("Authorization")
	if kind, token, _ := strings.Cut(header, " "); strings.EqualFold(kind, "Bearer") && token != "" {
		return []string{strings.TrimSpace(token)}, false
	}
	// Piston's clients send their key as it is.
	if reply.IsPiston(r) && strings.Count(header, ".") == 2 && !strings.Contains(header, " ") {
		return []string{header}, false
	}
	for _, name := range []string{g.CookieName(), "jwt"} {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			tokens = append(tokens, c.Value)
		}
	}
	return tokens, true
}

// CookieName is this fleet's own: cookies don't know ports.
func (g *Guard) CookieName() string { return "runnel_" + g.cfg.Fleet }

// authenticate finds out who makes a request. An outdated cookie of ours does not
// hide a good one that an older program has set.
func (g *Guard) authenticate(r *http.Request) (who Caller, err error) {
	tokens, cookie := g.tokensOf(r)
	first := errNoToken
	for i, token := range tokens {
		if who, err = g.Check(token); err == nil {
			who.Cookie = cookie
			return who, nil
		}
		if i == 0 {
			first = err
		}
	}
	return Caller{}, first
}

// Check says whose a token is.
func (g *Guard) Check(token string) (Caller, error) {
	who, err := g.known.check(g.cfg.Secret, token)
	if err == nil && who.Scopes == nil {
		who.Scopes = g.cfg.DefaultScope
	}
	return who, err
}

// Verify says whose a token is that was signed with a secret. Scopes are nil if
// it says nothing of them.
func Verify(secret, token string) (Caller, error) {
	c, err := read(secret, token)
	if err != nil {
		return Caller{}, err
	}
	return c.caller(), nil
}

// read reads a token that was signed with a secret, and is good now.
func read(secret, token string) (*claims, error) {
	c := &claims{}
	_, err := jwt.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok { // what must be understood, and is not
			return nil, errUnauthorized
		}
		return []byte(secret), nil
	},
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuedAt())
	if err != nil {
		return nil, wordsOf(err)
	}
	return c, nil
}

func (c *claims) caller() Caller {
	who := Caller{Sub: c.Subject, Scopes: c.Scope}
	if c.ExpiresAt != nil {
		who.Until = c.ExpiresAt.Time
	}
	return who
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

// Config of a Guard.
type Config struct {
	Fleet          string // its name among others, for the cookie's
	Secret         string // what tokens are signed with
	DefaultScope   []Scope
	TrustedOrigins []string // pages elsewhere that may use the cookie
	CORSOrigins    []string // pages elsewhere that may call with a token
	AnonymousCode  bool     // scope code needs no token
}

// Guard lets requests in, or not.
type Guard struct {
	cfg         Config
	known       known
	crossOrigin *http.CrossOriginProtection
	guests      *http.CrossOriginProtection // pages that may call without a token
}

// NewGuard makes one.
func NewGuard(cfg Config) (*Guard, error) {
	if len(cfg.Secret) < MinSecret {
		return nil, fmt.Errorf("its secret has %d bytes and must have at least %d", len(cfg.Secret), MinSecret)
	}
	if cfg.DefaultScope == nil {
		cfg.DefaultScope = DefaultScope
	}
	g := &Guard{cfg: cfg, crossOrigin: http.NewCrossOriginProtection()}
	return g, g.readOrigins()
}

// Wrap lets a request through to a route if its Caller may.
func (g *Guard) Wrap(want Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := g.authenticate(r)
		anonymous := want == Public || want == ScopeCode && g.cfg.AnonymousCode
		switch {
		case err != nil && !anonymous:
			w.Header().Set("WWW-Authenticate", "Bearer")
			reply.Refusal(r)(w, http.StatusUnauthorized, err.Error())
			return
		case err != nil && want != Public:
			if err := g.guests.Check(r); err != nil && !g.allowsAnyOrigin() {
				reply.Refusal(r)(w, http.StatusForbidden, "a page from elsewhere may not do this without a token: "+err.Error())
				return
			}
		case err == nil && who.Cookie:
			if err := g.crossOrigin.Check(r); err != nil {
				reply.Refusal(r)(w, http.StatusForbidden, "a page from elsewhere may not use this cookie: "+err.Error())
				return
			}
		}
		if err == nil && !who.May(want) && !anonymous {
			reply.Refusal(r)(w, http.StatusForbidden, fmt.Sprintf("the token does not allow this: it needs scope %s", want))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}
