package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

// stage is a step's result as the Rust client reads it, which takes no null for
// a number or a text.
type stage struct {
	Stdout, Stderr, Output string
	Code                   *int
	Signal                 *string
	Status, Message        *string

	WallTime float64 `json:"wall_time"`
}

type executed struct {
	Language, Version string
	Run               stage
	Compile           *stage
	Message           string
}

// strictly reads what must have each of the members.
func strictly(t *testing.T, text string, into any, members ...string) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, m := range members {
		if v, ok := all[m]; !ok || string(v) == "null" {
			t.Errorf("%s is missing in %s", m, text)
		}
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// Requests as Piston's clients send them, by name of the client.
func TestPistonClients(t *testing.T) {
	w := open(t)
	key := "Authorization: " + token(t) // as it is, without Bearer
	rig.EventuallyIn(t, 3*time.Minute, "bash and C are known", func() bool {
		_, text := w.do("GET", "/api/v2/runtimes", "", bearer(t))
		return strings.Contains(text, `"bash"`) && strings.Contains(text, `"c"`)
	})
	t.Run("pyston", func(t *testing.T) { // its paths end with a slash
		headers := []string{key, "User-Agent: Pyston https://example.org 1.3", "Content-Type: application/json", "Accept: */*", "Accept-Encoding: gzip, deflate"}
		var runtimes []struct {
			Language, Version string
			Aliases           []string
			Runtime           *string
		}
		res, text := w.do("GET", "/api/v2/piston/runtimes/", "", headers...)
		if err := json.Unmarshal([]byte(text), &runtimes); err != nil || res.StatusCode != 200 || len(runtimes) == 0 || res.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v %s", res.StatusCode, err, text)
		}
		version := ""
		for _, r := range runtimes {
			if r.Language == "bash" {
				version = r.Version
			}
		}
		res, text = w.do("POST", "/api/v2/piston/execute/", `{"language": "bash", "version": "`+version+`", "stdin": "", "args": [], "compile_timeout": 10000, "run_timeout": 20000, `+
			`"compile_memory_limit": -1, "run_memory_limit": -1, "files": [{"name": "", "content": "echo hi; exit 2"}]}`, headers...)
		var got executed
		strictly(t, text, &got, "language", "version", "run")
		if res.StatusCode != 200 || got.Run.Output != "hi\n" || *got.Run.Code != 2 || got.Run.Signal != nil || got.Compile != nil {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("piston_rs", func(t *testing.T) { // a program that does not compile has a number for its exit
		res, text := w.do("POST", "/api/v2/piston/execute", `{"language":"c","version":"*","files":[{"name":"","content":"int main( {","encoding":"utf8"}],"stdin":"","args":[],`+
			`"compile_timeout":60000,"run_timeout":3000,"compile_memory_limit":-1,"run_memory_limit":-1}`, key, "Accept: application/json", "User-Agent: piston-rs", "Content-Type: application/json")
		var got executed
		strictly(t, text, &got, "run", "compile")
		if res.StatusCode != 200 || got.Compile == nil || *got.Compile.Code == 0 || !strings.Contains(got.Compile.Stderr, "error") ||
			*got.Run.Code != *got.Compile.Code || got.Run.Output != got.Compile.Output {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("a bot in Python", func(t *testing.T) { // no arguments are a text, and it sends what nobody knows
		res, text := w.do("POST", "/api/v2/piston/execute", `{"language": "sh", "version": "5.x.x", "files": [{"content": "echo $#"}], "args": "", "stdin": "", "log": 0}`,
			bearer(t), "Content-Type: application/json", "User-Agent: python-requests/2.31.0")
		var got executed
		strictly(t, text, &got, "run")
		if res.StatusCode != 200 || got.Language != "bash" || got.Run.Stdout != "0\n" {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("a page", func(t *testing.T) { // run_timeout alone bounds the program, whatever the compiler may take
		res, text := w.do("POST", "/api/v2/execute", `{"language":"bash","version":"*","files":[{"content":"echo on; sleep 100"}],"run_timeout":500,"compile_timeout":90000}`,
			bearer(t), "Content-Type: application/json;charset=UTF-8")
		var got executed
		strictly(t, text, &got, "run")
		if res.StatusCode != 200 || got.Run.Stdout != "on\n" || *got.Run.Status != "TO" || *got.Run.Signal != "SIGKILL" || got.Run.Code != nil || got.Run.WallTime > 60e3 {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("base64", func(t *testing.T) { // of JavaScript, Java and a mail
		for _, content := range []string{"ZWNobyA/Pz8+", "ZWNobyA_Pz8-", "ZWNo\nbyA/\r\nPz8+", "ZWNobyA/Pz8+Cg", "ZWNobyA/Pz8+Cg=="} {
			res, text := w.do("POST", "/api/v2/execute", `{"language":"bash","version":"*","run_timeout":20000,"files":[{"content":`+quoted(content)+`,"encoding":"base64"}]}`, bearer(t), "Content-Type: application/json")
			if res.StatusCode != 200 {
				t.Errorf("%q: %d %s", content, res.StatusCode, text)
			}
		}
	})
	t.Run("npm's piston-client", func(t *testing.T) { // names no type: Piston of today refuses it as well
		res, text := w.do("POST", "/api/v2/execute", `{}`, bearer(t), "Content-Type: text/plain;charset=UTF-8")
		if res.StatusCode != 415 || text != `{"message":"requests must be of type application/json"}` {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	// A key as it is counts there alone, and only one that is a token.
	for _, c := range []struct {
		path, header string
		code         int
	}{
		{"/api/v2/runtimes", key, 200}, {"/api/v2/runtimes/", key, 200}, {"/api/v2/packages/", key, 200}, {"/api/v2/runtimes", "Authorization: 123abc", 401},
		{"/pipelines", key, 401}, {"/api/v1/languages", key, 401}, {"/api/v2/runtimes//", key, 404}, {"/api/v2/nothing", key, 404},
	} {
		if res, text := w.do("GET", c.path, "", c.header); res.StatusCode != c.code && !(c.code == 404 && res.StatusCode == 307) {
			t.Errorf("%s with %.25s: %d %s, want %d", c.path, c.header, res.StatusCode, text, c.code)
		}
	}
	if res, text := w.do("PUT", "/api/v2/execute/", "", key); res.StatusCode != 405 || res.Header.Get("Allow") != "POST" || !strings.HasPrefix(text, `{"message":`) {
		t.Errorf("PUT: %d %v %s", res.StatusCode, res.Header, text)
	}
}

func quoted(text string) string {
	body, _ := json.Marshal(text)
	return string(body)
}
