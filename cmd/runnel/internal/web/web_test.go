package web

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flagsOf reads a command line.
func flagsOf(t *testing.T, args ...string) *Flags {
	t.Helper()
	f := &Flags{}
	cmd := &cobra.Command{Use: "x"}
	f.Add(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return f
}

const secret = "0123456789abcdef"

func TestSecretIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	secrets := make([]string, 16)
	var wg sync.WaitGroup
	for i := range secrets { // several programs at once
		wg.Go(func() {
			var err error
			if secrets[i], err = flagsOf(t).Secret(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	made, err := flagsOf(t).Secret(dir)
	if err != nil || len(made) < 32 {
		t.Fatalf("got %q, %v", made, err)
	}
	for _, got := range secrets {
		if got != made {
			t.Errorf("one of several has %q, want %q", got, made)
		}
	}
	if again, err := flagsOf(t).Secret(dir); err != nil || again != made {
		t.Errorf("got %q, %v, want the same again", again, err)
	}
	info, err := os.Stat(filepath.Join(dir, "jwt-secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file that only its owner reads", info, err)
	}
}

func TestSecretOfAFlagOrAFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mine")
	if err := os.WriteFile(file, []byte(" "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args       []string
		want, fail string
	}{
		{[]string{"--jwt-secret", secret + "!"}, secret + "!", ""},
		{[]string{"--jwt-secret-file", file}, secret, ""},
		{[]string{"--jwt-secret", secret + "!", "--jwt-secret-file", file}, secret + "!", ""},
		{[]string{"--jwt-secret", "short"}, "", "cannot use --jwt-secret: it has 5 bytes and must have at least 16"},
		{[]string{"--jwt-secret-file", short}, "", "cannot use the secret in " + short + ": it has 5 bytes"},
		{[]string{"--jwt-secret-file", dir}, "", "cannot read the secret of tokens"},
		{[]string{"--jwt-secret-file", filepath.Join(file, "below")}, "", "cannot read the secret of tokens"},
	} {
		got, err := flagsOf(t, c.args...).Secret(dir)
		if got != c.want || c.fail == "" && err != nil || c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail)) {
			t.Errorf("%q: got %q, %v, want %q, %s", c.args, got, err, c.want, c.fail)
		}
	}
}

func TestConfigOfFlags(t *testing.T) {
	dir := t.TempDir()
	cfg, err := flagsOf(t, "--jwt-secret", secret, "--default-scope", "read,jobs", "--anonymous", "code",
		"--trusted-origin", "https://a", "--trusted-origin", "https://b", "--cors-origin", "https://c").Config(dir)
	if err != nil || cfg.Secret != secret || !cfg.AnonymousCode || len(cfg.DefaultScope) != 2 || len(cfg.TrustedOrigins) != 2 || len(cfg.CORSOrigins) != 1 {
		t.Errorf("got %+v, %v", cfg, err)
	}
	if cfg, err := flagsOf(t, "--jwt-secret", secret).Config(dir); err != nil || cfg.AnonymousCode || cfg.DefaultScope != nil {
		t.Errorf("got %+v, %v, want the defaults", cfg, err)
	}
	for want, args := range map[string][]string{
		"cannot use --default-scope write": {"--default-scope", "write"},
		"cannot use --anonymous run":       {"--anonymous", "run"},
		"cannot use --jwt-secret":          {"--jwt-secret", "x"},
	} {
		if _, err := flagsOf(t, append([]string{"--jwt-secret", secret}, args...)...).Config(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestServerOnSeveralAddresses(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	s, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, hello, quiet())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	urls := s.URLs()
	for _, url := range urls {
		reply, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(reply.Body)
		reply.Body.Close()
		if string(text) != "hello" {
			t.Errorf("%s: got %q", url, text)
		}
	}
	if len(urls) != 2 || urls[0] == urls[1] {
		t.Errorf("got %q, want two addresses", urls)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(urls[0]); err == nil {
		t.Error("it listens still")
	}
}

// One address that can't be had closes the others.
func TestServerOnABusyAddress(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	_, err = Listen([]string{address, busy.Addr().String()}, http.NotFoundHandler(), quiet())
	if err == nil || !strings.HasPrefix(err.Error(), "cannot listen on "+busy.Addr().String()+": ") || strings.Count(err.Error(), busy.Addr().String()) != 1 {
		t.Errorf("got %v, want one line with the address once", err)
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the other address is still taken: %v", err)
	}
	again.Close()
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"http://0.0.0.0:9009":   "http://localhost:9009",
		"http://[::]:9009":      "http://localhost:9009",
		"http://127.0.0.1:9009": "http://127.0.0.1:9009",
		"http://web1:80":        "http://web1:80",
		"http://web1":           "http://web1",
		":not a URL":            ":not a URL",
	} {
		if got := Reachable(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
