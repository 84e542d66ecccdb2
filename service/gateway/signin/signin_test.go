package signin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

const secret = "sixteen bytes at least"

// door is the room of a gateway that is nothing else.
type door struct {
	codes *Codes
	mux   *http.ServeMux
}

func newDoor(t *testing.T, codes *Codes) *door {
	t.Helper()
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	guard, err := auth.NewGuard(auth.Config{Fleet: "f", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	d := &door{codes: codes, mux: http.NewServeMux()}
	for _, route := range Room(codes)(&room.House{Space: space, Guard: guard, Version: "7", Log: slog.New(slog.DiscardHandler)}) {
		d.mux.Handle(route.Method+" "+route.Path, guard.Wrap(route.Scope, route.Handle))
	}
	return d
}

func bucket(t *testing.T) *kv.Bucket {
	t.Helper()
	js, err := jetstream.New(rig.Connect(t, rig.Embedded(t, embedded.Config{InProcessOnly: true})))
	if err != nil {
		t.Fatal(err)
	}
	b, err := kv.Open(rig.Within(t, time.Minute), js, kv.Config{Name: "codes", MarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (d *door) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, "http://here.example"+path, strings.NewReader(body)), httptest.NewRecorder()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	d.mux.ServeHTTP(w, r)
	return w
}

func cookie(w *httptest.ResponseRecorder) *http.Cookie {
	for _, c := range w.Result().Cookies() {
		return c
	}
	return nil
}

func (d *door) code(t *testing.T, sub string, scopes ...auth.Scope) string {
	t.Helper()
	code, err := d.codes.New(rig.Within(t, time.Minute), sub, scopes)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestCodes(t *testing.T) {
	b := bucket(t)
	d := newDoor(t, &Codes{Bucket: b, Secret: secret})
	ctx := rig.Within(t, time.Minute)
	t.Run("a code tells whose it is, once", func(t *testing.T) {
		code := d.code(t, "alice", auth.ScopeRead, auth.ScopeRun)
		who, err := d.codes.use(ctx, code)
		if err != nil || who.Sub != "alice" || !slices.Equal(who.Scopes, []auth.Scope{auth.ScopeRead, auth.ScopeRun}) {
			t.Errorf("%+v, %v", who, err)
		}
		if _, err := d.codes.use(ctx, code); !errors.Is(err, ErrCode) {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("of many at once one gets in", func(t *testing.T) {
		code := d.code(t, "bob")
		var in, out atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				switch _, err := d.codes.use(ctx, code); {
				case err == nil:
					in.Add(1)
				case errors.Is(err, ErrCode):
					out.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 || out.Load() != 19 {
			t.Errorf("%d in, %d out", in.Load(), out.Load())
		}
	})
	t.Run("what nobody made lets nobody in", func(t *testing.T) {
		code := d.code(t, "eve")
		for _, text := range []string{"", "x", code + "x", code[1:], strings.ToUpper(code), "*", ">", "a.b"} {
			if _, err := d.codes.use(ctx, text); !errors.Is(err, ErrCode) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
	t.Run("who writes the bucket and has not the secret makes none", func(t *testing.T) {
		forged, err := (&Codes{Bucket: b, Secret: "another secret of enough bytes"}).New(ctx, "root", []auth.Scope{auth.ScopeAdmin})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.codes.use(ctx, forged); !errors.Is(err, ErrCode) {
			t.Errorf("forged: %v", err)
		}
	})
	t.Run("an old one is none", func(t *testing.T) {
		code := "an-old-code"
		sealed, err := auth.Token(d.codes.seal(code), "alice", nil, time.Nanosecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(ctx, kv.Write{Key: keyOf(code), Body: []byte(sealed), Create: true}); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, "it is too old", func() bool {
			_, err := auth.Verify(d.codes.seal(code), sealed)
			return err != nil
		})
		if _, err := d.codes.use(ctx, code); !errors.Is(err, ErrCode) {
			t.Errorf("old: %v", err)
		}
	})
	t.Run("by a link", func(t *testing.T) { testLinks(t, d) })
	t.Run("by a code in a request", func(t *testing.T) {
		w := d.ask("POST", "/signin", `{"code":"`+d.code(t, "alice", auth.ScopeRead)+`"}`)
		var me meJSON
		if err := json.Unmarshal(w.Body.Bytes(), &me); err != nil || w.Code != 200 || me.Sub != "alice" || me.Until == nil || cookie(w) == nil {
			t.Errorf("%d %s %v", w.Code, w.Body, err)
		}
	})
	t.Run("without a server it says so", func(t *testing.T) {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := d.codes.use(gone, d.code(t, "alice")); err == nil || errors.Is(err, ErrCode) {
			t.Errorf("%v", err)
		}
	})
}

func testLinks(t *testing.T, d *door) {
	path, err := Link(rig.Within(t, time.Minute), d.codes, "alice", []auth.Scope{auth.ScopeRead})
	if err != nil || !strings.HasPrefix(path, "/signin?code=") || len(path) != len("/signin?code=")+22 {
		t.Fatalf("%s, %v", path, err)
	}
	for _, c := range []struct{ method, header string }{{"HEAD", "A: b"}, {"GET", "Sec-Purpose: prefetch"}} { // a look ahead
		if w := d.ask(c.method, path, "", c.header); w.Code != 204 || cookie(w) != nil {
			t.Errorf("%s with %s: %d %v", c.method, c.header, w.Code, w.Header())
		}
	}
	w := d.ask("GET", path, "")
	c := cookie(w)
	if w.Code != 303 || w.Header().Get("Location") != "/" || c == nil || c.Name != "runnel_f" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	w = d.ask("GET", "/api/v1/me", "", "Cookie: runnel_f="+c.Value)
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"sub":"alice","scopes":["read"],"until":"`) || !strings.HasSuffix(w.Body.String(), `,"fleet":"runner","version":"7"}`) {
		t.Errorf("me: %d %s", w.Code, w.Body)
	}
	if w := d.ask("GET", path, ""); w.Code != 401 || cookie(w) != nil || !strings.Contains(w.Body.String(), "older than ten minutes") {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
	if w := d.ask("GET", path, "", "Accept: text/html,*/*"); w.Code != 303 || w.Header().Get("Location") != "/?signin=used" || cookie(w) != nil {
		t.Errorf("again, in a browser: %d %v", w.Code, w.Header())
	}
	if w := d.ask("GET", "/signin", ""); w.Code != 400 || w.Body.String() != `{"error":"a code is missing"}` {
		t.Errorf("without a code: %d %s", w.Code, w.Body)
	}
}

// What may be sent to sign in, and what becomes of it.
func TestSignIn(t *testing.T) {
	d := newDoor(t, nil)
	good, err := auth.Token(secret, "me", []auth.Scope{auth.ScopeCode}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	endless, err := auth.Token(secret, "", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	const form, expected = "Content-Type: application/x-www-form-urlencoded", `{"error":"a token or a code is expected: {\"token\":\"…\"} or {\"code\":\"…\"}"}`
	for name, c := range map[string]struct {
		body, header string
		code         int
		want         string // the beginning of the body
	}{
		"a token":                  {`{"token":"` + good + `"}`, "", 200, `{"sub":"me","scopes":["code"],"until":"2`},
		"one without an end":       {`{"token":"` + endless + `"}`, "", 200, `{"sub":"","scopes":["read","jobs","code"],"until":null,`},
		"a form":                   {"token=" + good, form, 303, ""},
		"a form, by its charset":   {"token=" + good, form + "; charset=utf-8", 303, ""},
		"a form of another type":   {"token=" + good, "", 400, expected},
		"a bad token":              {`{"token":"a.b.c"}`, "", 401, `{"error":"token is unauthorized"}`},
		"nothing":                  {``, "", 400, expected},
		"an empty object":          {`{}`, "", 400, expected},
		"both":                     {`{"token":"x","code":"y"}`, "", 400, expected},
		"a number":                 {`{"token":5}`, "", 400, expected},
		"a list":                   {`[]`, "", 400, expected},
		"an empty form":            {``, form, 400, expected},
		"a bad form":               {`token=%zz`, form, 400, expected},
		"too much":                 {`{"token":"` + strings.Repeat("x", maxBody) + `"}`, "", 413, `{"error":"the request is too large"}`},
		"a code, where none are":   {`{"code":"x"}`, "", 503, `{"error":"this gateway cannot take one-time links`},
		"another site's page":      {`{"token":"` + good + `"}`, "Sec-Fetch-Site: cross-site", 403, `{"error":"a page from elsewhere may not sign in here: `},
		"another site, by origin":  {`{"token":"` + good + `"}`, "Origin: https://there.example", 403, `{"error":"a page from elsewhere may not sign in here: `},
		"this site's own page":     {`{"token":"` + good + `"}`, "Origin: http://here.example", 200, `{"sub":"me"`},
		"the address line's":       {`{"token":"` + good + `"}`, "Sec-Fetch-Site: none", 200, `{"sub":"me"`},
		"a neighbour of this site": {`{"token":"` + good + `"}`, "Sec-Fetch-Site: same-site", 403, `{"error":"a page from elsewhere may not sign in here: `},
	} {
		w := d.ask("POST", "/signin", c.body, c.header)
		if w.Code != c.code || !strings.HasPrefix(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, c.code, c.want)
		}
		if set := cookie(w) != nil; set != (c.code < 400) {
			t.Errorf("%s: a cookie %v", name, set)
		}
	}
	w := d.ask("POST", "/signin", `{"token":"`+endless+`"}`, "X-Forwarded-Proto: https")
	if c := cookie(w); c == nil || !c.Secure || c.MaxAge != 0 || c.Value != endless {
		t.Errorf("the cookie of a token without an end: %+v", c)
	}
	if w := d.ask("GET", "/signin?code=x", ""); w.Code != 503 {
		t.Errorf("a link, where none are: %d %s", w.Code, w.Body)
	}
}

func TestSignOut(t *testing.T) {
	d := newDoor(t, nil)
	w := d.ask("POST", "/signout", "")
	if c := cookie(w); w.Code != 204 || c == nil || c.Name != "runnel_f" || c.Value != "" || c.MaxAge >= 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := d.ask("POST", "/signout", "", "Sec-Fetch-Site: cross-site"); w.Code != 403 || cookie(w) != nil {
		t.Errorf("from another site: %d %v", w.Code, w.Header())
	}
	if w := d.ask("GET", "/api/v1/me", ""); w.Code != 401 || w.Body.String() != `{"error":"no token found"}` {
		t.Errorf("nobody: %d %s", w.Code, w.Body)
	}
}
