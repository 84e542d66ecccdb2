package gateway_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"
)

// signed is a token with any header and any text for its claims.
func signed(header, claims string, with func() hash.Hash) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	if with == nil {
		return text + "."
	}
	mac := hmac.New(with, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// What anybody may put in a token, with what becomes of it.
func TestClaims(t *testing.T) {
	w := open(t)
	const hs256 = `{"typ":"JWT","alg":"HS256"}`
	now := time.Now().Unix()
	const bad, expired = `{"error":"token is unauthorized"}`, `{"error":"token is expired"}`
	for _, c := range []struct {
		header, claims string
		with           func() hash.Hash
		code           int
		want           string
	}{
		{hs256, `{}`, sha256.New, 200, ""},
		{`{"alg":"HS256"}`, `{}`, sha256.New, 200, ""},
		{`{"alg":"HS256","kid":"../../etc/passwd"}`, `{}`, sha256.New, 200, ""},
		{hs256, fmt.Sprintf(`{"exp":%d,"aud":"other","iss":"x"}`, now+3600), sha256.New, 200, ""},
		{hs256, fmt.Sprintf(`{"exp":%d.5,"aud":["a","b"],"sub":null}`, now+3600), sha256.New, 200, ""},
		{hs256, `{"scope":"jobs  read"}`, sha256.New, 200, ""},
		{hs256, `{"scope":["read","moon"]}`, sha256.New, 200, ""},
		{hs256, `{"x":"` + strings.Repeat("y", 30<<10) + `"}`, sha256.New, 200, ""},
		{`{"alg":"none"}`, `{}`, nil, 401, bad},
		{`{"alg":"None"}`, `{}`, nil, 401, bad},
		{`{"alg":"none"}`, `{}`, sha256.New, 401, bad},
		{`{"alg":"HS512"}`, `{}`, sha512.New, 401, bad},
		{`{"alg":"HS384"}`, `{}`, sha512.New384, 401, bad},
		{`{"alg":"RS256"}`, `{}`, sha256.New, 401, bad},
		{`{"typ":"JWT"}`, `{}`, sha256.New, 401, bad},
		{`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`, sha256.New, 401, bad},
		{hs256, `{}`, sha512.New, 401, bad},
		{hs256, `[]`, sha256.New, 401, bad},
		{hs256, `{} {}`, sha256.New, 401, bad},
		{hs256, `x`, sha256.New, 401, bad},
		{hs256, `{"sub":5}`, sha256.New, 401, bad},
		{hs256, `{"scope":5}`, sha256.New, 401, bad},
		{hs256, fmt.Sprintf(`{"exp":%d}`, now-3600), sha256.New, 401, expired},
		{hs256, `{"exp":0}`, sha256.New, 401, expired},
		{hs256, `{"exp":-1}`, sha256.New, 401, expired},
		{hs256, fmt.Sprintf(`{"nbf":%d}`, now+3600), sha256.New, 401, `{"error":"token nbf validation failed"}`},
		{hs256, fmt.Sprintf(`{"iat":%d}`, now+3600), sha256.New, 401, `{"error":"token iat validation failed"}`},
		{hs256, `{"scope":[]}`, sha256.New, 403, `{"error":`},
		{hs256, `{"scope":null}`, sha256.New, 403, `{"error":`},
		{hs256, `{"scope":"READ"}`, sha256.New, 403, `{"error":`},
	} {
		token := signed(c.header, c.claims, c.with)
		for _, header := range []string{"Authorization: bEaReR " + token, "Cookie: a=b; jwt=" + token} {
			res, text := w.do("GET", "/pipelines", "", header)
			if res.StatusCode != c.code || !strings.HasPrefix(text, c.want) || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %.80s as %.12s: %d %.100s, want %d %s", c.header, c.claims, header, res.StatusCode, text, c.code, c.want)
			}
		}
	}
}

// Which of several tokens counts.
func TestSeveralTokens(t *testing.T) {
	w := open(t)
	good, old := token(t), signed(`{"alg":"HS256"}`, `{"exp":1}`, sha256.New)
	for _, c := range []struct {
		headers []string
		code    int
		want    string
	}{
		{[]string{"Cookie: runnel_runner=" + old + "; jwt=" + good}, 200, ""},
		{[]string{"Cookie: runnel_runner=" + good + "; jwt=" + old}, 200, ""},
		{[]string{"Cookie: runnel_runner=" + old + "; jwt=x"}, 401, `{"error":"token is expired"}`},
		{[]string{"Cookie: runnel_other=" + good}, 401, `{"error":"no token found"}`},
		{[]string{"Authorization: Basic eDp5", "Cookie: jwt=" + good}, 200, ""},
		{[]string{"Authorization: Bearer " + old, "Cookie: jwt=" + good}, 401, `{"error":"token is expired"}`},
		{[]string{"Authorization: Bearer"}, 401, `{"error":"no token found"}`},
		{[]string{"Authorization: Bearer  " + good}, 200, ""},
		{[]string{"Authorization: " + good}, 401, `{"error":"no token found"}`},
	} {
		if res, text := w.do("GET", "/pipelines", "", c.headers...); res.StatusCode != c.code || !strings.HasPrefix(text, c.want) {
			t.Errorf("%.60s: %d %s, want %d %s", c.headers, res.StatusCode, text, c.code, c.want)
		}
	}
}

// What is wrong with a body is said in the words of its sender.
func TestWrongBodies(t *testing.T) {
	w := open(t)
	for _, c := range []struct{ path, body, want string }{
		{"/pipelines/schedule", `[]`, `{"error":"Error decoding JSON: an object is expected, not this array"}`},
		{"/pipelines/schedule", `"x"`, `{"error":"Error decoding JSON: an object is expected, not this string"}`},
		{"/pipelines/schedule", `{"pipeline":5}`, `{"error":"Error decoding JSON: pipeline: a text is expected, not this number"}`},
		{"/pipelines/schedule", `{"pipeline":"fails","queuePartition":[]}`, `{"error":"Error decoding JSON: queuePartition: a text is expected, not this array"}`},
		{"/pipelines/schedule", `{"pipeline":"fails","variables":"x"}`, `{"error":"Error decoding JSON: variables: an object is expected"}`},
		{"/pipelines/schedule", `{"pipeline":"fails","variables":["x"]}`, `{"error":"Error decoding JSON: variables: an object is expected"}`},
		{"/pipelines/schedule", `{"pipeline":"fails","variables":5}`, `{"error":"Error decoding JSON: variables: an object is expected"}`},
		{"/pipelines/schedule", ``, `{"error":"Error decoding JSON: EOF"}`},
		{"/pipelines/schedule", `{`, `{"error":"Error decoding JSON: unexpected EOF"}`},
		{"/pipelines/schedule", `{"pipeline":}`, `{"error":"Error decoding JSON: invalid character '}' looking for beginning of value"}`},
		{"/pipelines/schedule", `null`, `{"error":"Error scheduling pipeline: pipeline \"\" is not defined"}`},
		{"/pipelines/schedule", `{"pipeline":"no\nne"}`, `{"error":"Error decoding JSON: `},
		{"/api/v2/execute", `[]`, `{"message":"invalid JSON: an object is expected, not this array"}`},
		{"/api/v2/execute", `{`, `{"message":"invalid JSON: unexpected end of JSON input"}`},
		{"/api/v1/run", `[]`, `{"error":"failed to parse request body"}`},
		{"/api/v1/run", `{"source":5,"language":"bash"}`, `{"error":"failed to parse request body"}`},
	} {
		body := strings.ReplaceAll(c.body, `\n`, "\n")
		if res, text := w.do("POST", c.path, body, bearer(t), "Content-Type: application/json"); res.StatusCode != 400 || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.path, c.body, res.StatusCode, text, c.want)
		}
	}
	// What the older program let through.
	for _, body := range []string{
		`{"pipeline":"fails","variables":null}`, `{"pipeline":"fails","variables":[]}`, `{"pipeline":"fails","variables":{}} and more`,
		`{"pipeline":"fails","unknown":{"a":[1]}}`, `{"Pipeline":"fails"}`, " \r\n\t{\"pipeline\" : \"fails\"}\n",
	} {
		for _, kind := range []string{"Content-Type: text/plain;charset=UTF-8", "Content-Type: application/x-www-form-urlencoded", "Content-Type: nonsense"} {
			if res, text := w.do("POST", "/pipelines/schedule", body, bearer(t), kind); res.StatusCode != 202 {
				t.Errorf("%s as %s: %d %s", body, kind, res.StatusCode, text)
			}
		}
	}
}
