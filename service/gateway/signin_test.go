package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// bare is a world of gateways alone.
func bare(t *testing.T) *world { return &world{t: t, fleet: fleet.New(t)} }

func (w *world) made(change ...func(*gateway.Config)) (*gateway.Gateway, *world) {
	cfg := gateway.Config{Secret: secret, Logger: rig.Logger(w.t)}
	for _, c := range change {
		c(&cfg)
	}
	g, url := w.start(cfg)
	return g, &world{t: w.t, fleet: w.fleet, url: url}
}

func link(t *testing.T, g *gateway.Gateway, scopes ...auth.Scope) string {
	t.Helper()
	path, err := g.Link(rig.Within(t, time.Minute), "alice", scopes)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A link lets somebody in once, at whichever gateway, however many try at once.
func TestLinkIsGoodOnce(t *testing.T) {
	w := bare(t)
	g, one := w.made()
	_, two := w.made(func(cfg *gateway.Config) { cfg.Version = "1.2.3" })
	path := link(t, g, auth.ScopeRead)
	code := strings.TrimPrefix(path, "/signin?code=")
	if len(code) != 22 { // 128 bits
		t.Fatalf("%s", path)
	}
	for _, h := range []string{"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender"} {
		if res, _ := one.do("GET", path, "", h); res.StatusCode != 204 {
			t.Errorf("%s: %d", h, res.StatusCode)
		}
	}
	if res, _ := two.do("HEAD", path, ""); res.StatusCode != 204 {
		t.Errorf("HEAD: %d", res.StatusCode)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes := map[int]int{}
	var cookie *http.Cookie
	for i := range 20 {
		wg.Go(func() {
			res, text := []*world{one, two}[i%2].do("GET", path, "")
			mu.Lock()
			defer mu.Unlock()
			codes[res.StatusCode]++
			switch c := res.Cookies(); {
			case res.StatusCode == 303 && len(c) == 1 && res.Header.Get("Location") == "/":
				cookie = c[0]
			case res.StatusCode != 401 || len(c) > 0 || !strings.Contains(text, "older than ten minutes"):
				t.Errorf("%d %v %s", res.StatusCode, c, text)
			}
		})
	}
	wg.Wait()
	if codes[303] != 1 || codes[401] != 19 || cookie == nil {
		t.Fatalf("%v", codes)
	}
	if cookie.Name != "runnel_runner" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Secure || cookie.Domain != "" ||
		cookie.MaxAge < 29*24*3600 {
		t.Errorf("cookie: %+v", cookie)
	}
	res, text := two.do("GET", "/api/v1/me", "", "Cookie: "+cookie.Name+"="+cookie.Value)
	var me struct {
		Sub, Fleet string
		Version    string
		Scopes     []string
		Until      time.Time
	}
	if err := json.Unmarshal([]byte(text), &me); err != nil || res.StatusCode != 200 || me.Sub != "alice" || me.Fleet != "runner" || me.Version != "1.2.3" ||
		!slices.Equal(me.Scopes, []string{"read"}) || time.Until(me.Until) < 29*24*time.Hour {
		t.Errorf("me: %d %s", res.StatusCode, text)
	}
}

// What is stored of a code lets nobody in, is gone after ten minutes, and can't be
// made without the secret.
func TestStoredCode(t *testing.T) {
	w := bare(t)
	g, one := w.made()
	code := strings.TrimPrefix(link(t, g), "/signin?code=")
	js, err := jetstream.New(w.fleet.Conn())
	if err != nil {
		t.Fatal(err)
	}
	ctx := rig.Within(t, time.Minute)
	stream, err := js.Stream(ctx, "KV_runner_gateway")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(ctx, "$KV.runner_gateway.code.*")
	if err != nil {
		t.Fatal(err)
	}
	if ttl := m.Header.Get("Nats-TTL"); ttl != "10m0s" {
		t.Errorf("it is kept for %q", ttl)
	}
	if strings.Contains(string(m.Data), code) || strings.Contains(m.Subject, code) {
		t.Errorf("the code is stored: %s %s", m.Subject, m.Data)
	}
	if res, _ := one.do("GET", "/api/v1/me", "", "Authorization: Bearer "+string(m.Data)); res.StatusCode != 401 {
		t.Errorf("what is stored is a token: %d", res.StatusCode)
	}
	// Whoever may write the bucket moves the entry to a code of his own.
	hash := "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4" // of "hi"
	if _, err := js.Publish(ctx, "$KV.runner_gateway.code."+hash, m.Data); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"hi", "nosuch", url.QueryEscape("a b/c>.*")} {
		if res, _ := one.do("GET", "/signin?code="+code, ""); res.StatusCode != 401 {
			t.Errorf("code %s: %d", code, res.StatusCode)
		}
	}
	if res, _ := one.do("GET", "/signin", ""); res.StatusCode != 400 {
		t.Errorf("no code: %d", res.StatusCode)
	}
}

func TestSignInWithToken(t *testing.T) {
	w := bare(t)
	g, one := w.made(func(c *gateway.Config) { c.TrustedOrigins = []string{"https://page.example"} })
	good := token(t, auth.ScopeRead)
	const form, asJSON = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	for _, c := range []struct {
		name, body string
		headers    []string
		code       int
	}{
		{"JSON", `{"token":"` + good + `"}`, []string{asJSON}, 200},
		{"no type", `{"token":"` + good + `"}`, nil, 200},
		{"form", "token=" + good, []string{form}, 303},
		{"code", `{"code":"` + strings.TrimPrefix(link(t, g), "/signin?code=") + `"}`, nil, 200},
		{"trusted page", `{"token":"` + good + `"}`, []string{"Origin: https://page.example", "Sec-Fetch-Site: cross-site"}, 200},
		{"bad token", `{"token":"a.b.c"}`, nil, 401},
		{"bad code", `{"code":"x"}`, nil, 401},
		{"both", `{"token":"x","code":"x"}`, nil, 400},
		{"neither", `{}`, nil, 400},
		{"no JSON", `token`, nil, 400},
		{"large", `{"token":"` + strings.Repeat("x", 20<<10) + `"}`, nil, 413},
		{"page elsewhere", `{"token":"` + good + `"}`, []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"old page elsewhere", `{"token":"` + good + `"}`, []string{"Origin: https://evil.example"}, 403},
	} {
		res, text := one.do("POST", "/signin", c.body, c.headers...)
		if res.StatusCode != c.code || (len(res.Cookies()) == 1) != (c.code < 400) || c.code >= 400 && !strings.HasPrefix(text, `{"error":`) {
			t.Errorf("%s: %d %s %v", c.name, res.StatusCode, text, res.Cookies())
		}
	}
	for _, h := range []string{"X-Forwarded-Proto: https", "X-Forwarded-Proto: HTTPS, http", "Forwarded: for=1.2.3.4;proto=https"} {
		res, _ := one.do("POST", "/signin", `{"token":"`+good+`"}`, h)
		if c := res.Cookies(); len(c) != 1 || !c[0].Secure {
			t.Errorf("%s: %v", h, c)
		}
	}
	if res, _ := one.do("POST", "/signout", "", "Sec-Fetch-Site: cross-site"); res.StatusCode != 403 || len(res.Cookies()) > 0 {
		t.Errorf("a page elsewhere signs out: %d", res.StatusCode)
	}
	res, _ := one.do("POST", "/signout", "", "Cookie: runnel_runner="+good, "Sec-Fetch-Site: same-origin")
	if c := res.Cookies(); res.StatusCode != 204 || len(c) != 1 || c[0].MaxAge >= 0 || c[0].Value != "" || c[0].Name != "runnel_runner" {
		t.Errorf("sign out: %d %v", res.StatusCode, c)
	}
	if res, _ := one.do("GET", "/api/v1/me", ""); res.StatusCode != 401 {
		t.Errorf("me without a token: %d", res.StatusCode)
	}
	if res, text := one.do("GET", "/api/v1/me", "", bearer(t, "moon")); res.StatusCode != 200 || !strings.Contains(text, `"scopes":["moon"]`) {
		t.Errorf("me: %d %s", res.StatusCode, text)
	}
	if res, text := one.do("GET", "/api/v1/me", "", bearer(t)); !strings.Contains(text, `"scopes":["read","jobs","code"]`) {
		t.Errorf("me by default: %d %s", res.StatusCode, text)
	}
}

// A gateway whose secret is another one says so and is not ready; the one that was
// there first goes on. When that is gone, the other one takes its place.
func TestSecretsDiffer(t *testing.T) {
	w := bare(t)
	first, one := w.made()
	first.Announce([]string{"http://first.example"})
	ready := func(at *world) (int, string) {
		res, text := at.do("GET", "/readyz", "")
		return res.StatusCode, text
	}
	rig.Eventually(t, "the first is ready", func() bool { code, _ := ready(one); return code == 200 })
	rig.Eventually(t, "its card says where it is", func() bool { return strings.Contains(w.cards(), "http://first.example") })
	_, two := w.made(func(c *gateway.Config) { c.Secret = "another secret of the fleet" })
	rig.Eventually(t, "the second refuses", func() bool {
		code, text := ready(two)
		return code == 503 && strings.Contains(text, "this gateway's secret differs from that of the gateway on ") && strings.Contains(text, "http://first.example")
	})
	third, three := w.made()
	rig.Eventually(t, "a third with the first's is ready", func() bool { code, _ := ready(three); return code == 200 })
	if code, text := ready(one); code != 200 {
		t.Errorf("the first: %d %s", code, text)
	}
	if cards := w.cards(); strings.Contains(cards, secret) {
		t.Errorf("the secret is on a card: %s", cards)
	}
	first.Close()
	rig.Eventually(t, "the first's card is gone", func() bool { return !strings.Contains(w.cards(), "first.example") })
	if code, _ := ready(two); code != 503 {
		t.Errorf("the second, beside a third that serves: %d", code)
	}
	third.Close()
	rig.Eventually(t, "the second alone is ready", func() bool { code, _ := ready(two); return code == 200 })
}

// cards are the bodies of all gateways' cards.
func (w *world) cards() string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	js, err := jetstream.New(w.fleet.Conn())
	if err != nil {
		w.t.Fatal(err)
	}
	kv, err := js.KeyValue(ctx, "runner_gateway")
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := kv.Keys(ctx)
	if err != nil && err != jetstream.ErrNoKeysFound {
		w.t.Fatal(err)
	}
	var all []string
	for _, key := range keys {
		if e, err := kv.Get(ctx, key); err == nil {
			all = append(all, string(e.Value()))
		}
	}
	return strings.Join(all, "\n")
}
