package web

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
)

// What a gateway says of itself is this program's.
func TestConfigHasTheVersion(t *testing.T) {
	f := Flags{secret: "sixteen bytes at least"}
	cfg, err := f.Config(t.TempDir())
	if err != nil || cfg.Version != service.Version || cfg.Version == "" {
		t.Errorf("%q, %v", cfg.Version, err)
	}
}

// All addresses answer; a request that is there when the server ends gets its
// answer, and another one finds nobody.
func TestServerEndsGracefully(t *testing.T) {
	came, goOn := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(came)
			<-goOn
		}
		_, _ = io.WriteString(w, "answer")
	})
	s, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, handler, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	urls := s.URLs()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, url := range urls {
		res, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	got := make(chan string)
	go func() {
		res, err := client.Get(urls[0] + "/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		got <- string(text)
	}()
	<-came
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	close(goOn)
	if text := <-got; text != "answer" {
		t.Errorf("the request that was there: %s", text)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := client.Get(urls[1]); err == nil {
		t.Error("it still answers")
	}
}

func TestBusyAddress(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, err = Listen([]string{"127.0.0.1:0", busy.Addr().String()}, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "cannot listen on "+busy.Addr().String()) {
		t.Errorf("%v", err)
	}
}

func TestReachable(t *testing.T) {
	for url, want := range map[string]string{
		"http://127.0.0.1:9009": "http://127.0.0.1:9009", "http://[::]:9009": "http://localhost:9009", "http://0.0.0.0:80": "http://localhost:80", "http://[::1]:1": "http://[::1]:1",
	} {
		if got := Reachable(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

// Profiles are for this host, by its own name, without a proxy.
func TestProfilesAreLocal(t *testing.T) {
	handler := Profiling(http.NotFoundHandler())
	for _, c := range []struct {
		remote, host, header string
		code                 int
	}{
		{"127.0.0.1:5", "localhost:9009", "", 200}, {"[::1]:5", "[::1]:9009", "", 200}, {"127.0.0.1:5", "127.0.0.1", "", 200},
		{"10.0.0.1:5", "localhost:9009", "", 403}, {"127.0.0.1:5", "evil.example", "", 403}, {"127.0.0.1:5", "localhost", "X-Forwarded-For", 403},
	} {
		r := httptest.NewRequest("GET", "/debug/pprof/cmdline", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		if c.header != "" {
			r.Header.Set(c.header, "1.2.3.4")
		}
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != c.code {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}
