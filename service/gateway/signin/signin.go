package signin

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
)

type server struct {
	*room.House
	codes *Codes // nil where there can be none
}

// Room gives the routes; codes may be nil.
func Room(codes *Codes) room.Room {
	return func(h *room.House) []room.Route {
		s := &server{h, codes}
		return []room.Route{
			{Method: "GET", Path: "/signin", Scope: auth.Public, Handle: s.byLink},
			{Method: "POST", Path: "/signin", Scope: auth.Public, Handle: s.signIn},
			{Method: "POST", Path: "/signout", Scope: auth.Public, Handle: s.signOut},
			{Method: "GET", Path: "/api/v1/me", Scope: auth.SignedIn, Handle: s.me},
		}
	}
}

// maxBody bounds what is sent to sign in.
const maxBody = 16 << 10

var errNoCodes = errors.New("this gateway cannot take one-time links: it may not use the fleet's bucket for them; sign in with a token")

// byLink takes the code of a link and leads to the page.
func (s *server) byLink(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead || r.Header.Get("Sec-Purpose") != "" {
		w.WriteHeader(http.StatusNoContent) // a look ahead must not use the code up
		return
	}
	token, who, ok := s.take(w, r, r.URL.Query().Get("code"))
	if ok {
		s.let(r, who, "link")
		s.Guard.SetCookie(w, r, token, who.Until)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// take uses a code up, for a token.
func (s *server) take(w http.ResponseWriter, r *http.Request, code string) (token string, who auth.Caller, ok bool) {
	if code == "" {
		reply.Error(w, http.StatusBadRequest, "a code is missing")
		return "", who, false
	}
	if s.codes == nil {
		reply.Error(w, http.StatusServiceUnavailable, errNoCodes.Error())
		return "", who, false
	}
	who, err := s.codes.use(r.Context(), code)
	if err == nil {
		if token, err = auth.Token(s.codes.Secret, who.Sub, who.Scopes, cookieLife); err == nil {
			who, err = s.Guard.Check(token)
		}
	}
	switch {
	case errors.Is(err, ErrCode) && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
		http.Redirect(w, r, "/?signin=used", http.StatusSeeOther) // the page says it
	case errors.Is(err, ErrCode):
		reply.Error(w, http.StatusUnauthorized, err.Error())
	case err != nil:
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
	}
	return token, who, err == nil
}

// signIn takes a token or a code, as JSON or from a form.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	if err := s.Guard.SameSite(r); err != nil {
		reply.Error(w, http.StatusForbidden, "a page from elsewhere may not sign in here: "+err.Error())
		return
	}
	body, err := reply.ReadBody(w, r, maxBody)
	if reply.IsTooLarge(err) {
		reply.Error(w, http.StatusRequestEntityTooLarge, "the request is too large")
		return
	}
	var in struct{ Token, Code string }
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form := kind == "application/x-www-form-urlencoded"
	if form {
		var values url.Values
		values, err = url.ParseQuery(string(body))
		in.Token, in.Code = values.Get("token"), values.Get("code")
	} else if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || (in.Token == "") == (in.Code == "") {
		reply.Error(w, http.StatusBadRequest, `a token or a code is expected: {"token":"…"} or {"code":"…"}`)
		return
	}
	token, who, ok := in.Token, auth.Caller{}, true
	if in.Code != "" {
		token, who, ok = s.take(w, r, in.Code)
	} else if who, err = s.Guard.Check(token); err != nil {
		ok = false
		reply.Error(w, http.StatusUnauthorized, err.Error())
	}
	if !ok {
		return
	}
	s.let(r, who, "token")
	s.Guard.SetCookie(w, r, token, who.Until)
	if form {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	reply.JSON(w, http.StatusOK, s.about(who))
}

// signOut takes the cookie back. The token in it stays good: it is not the
// gateway's to forget.
func (s *server) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.Guard.SameSite(r); err != nil {
		reply.Error(w, http.StatusForbidden, "a page from elsewhere may not sign out here: "+err.Error())
		return
	}
	s.Guard.ClearCookie(w, r)
	w.WriteHeader(http.StatusNoContent)
}

// meJSON is who is signed in.
type meJSON struct {
	Sub    string       `json:"sub"`
	Scopes []auth.Scope `json:"scopes"`
	Until  *time.Time   `json:"until"`
	Fleet  string       `json:"fleet"`

	Version string `json:"version"` // of the gateway
}

func (s *server) about(who auth.Caller) meJSON {
	me := meJSON{Sub: who.Sub, Scopes: who.Scopes, Fleet: s.Space.Prefix(), Version: s.Version}
	if me.Scopes == nil {
		me.Scopes = []auth.Scope{}
	}
	if !who.Until.IsZero() {
		until := who.Until.UTC()
		me.Until = &until
	}
	return me
}

// me says who asks, and what he may do, so that a page can hide the rest.
func (s *server) me(w http.ResponseWriter, r *http.Request) {
	reply.JSON(w, http.StatusOK, s.about(auth.CallerOf(r.Context())))
}

func (s *server) let(r *http.Request, who auth.Caller, by string) {
	s.Log.Info("somebody signed in", "by", by, "sub", who.Sub, "from", r.RemoteAddr)
}
