package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service/lockfile"
)

// dirOfChild makes the test binary a server in that directory, for tests that
// kill one.
const dirOfChild = "RUNNEL_TEST_EMBEDDED_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirOfChild); dir != "" {
		serveAsChild(dir)
	}
	goleak.VerifyTestMain(m)
}

func serveAsChild(dir string) {
	s, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	select {}
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func connect(t *testing.T, s *embedded.Server) *nats.Conn {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func files(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if path != dir {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEverythingTheDesignNeedsIsAllowed(t *testing.T) {
	s := start(t, embedded.Config{Memory: true, InProcessOnly: true})
	nc := connect(t, s)
	js := jetStream(t, nc)
	ctx := t.Context()
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "runs", LimitMarkerTTL: time.Hour})
	if err != nil {
		t.Fatalf("a bucket with TTLs of keys: %v", err)
	}
	if _, err := kv.Create(ctx, "run", []byte("{}"), jetstream.KeyTTL(time.Hour)); err != nil {
		t.Fatalf("a key with a TTL: %v", err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "LOG", Subjects: []string{"log.>"}, AllowMsgTTL: true, AllowMsgSchedules: true,
		AllowDirect: true, MaxBytes: s.MaxStoreBytes() / 10,
	})
	if err != nil {
		t.Fatalf("a stream with a tenth of the store: %v", err)
	}
	if got := nc.MaxPayload(); got != 1<<20 {
		t.Errorf("max payload: got %d, want 1 MiB", got)
	}
}

func TestMemoryLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	s := start(t, embedded.Config{Memory: true, InProcessOnly: true})
	if _, err := jetStream(t, connect(t, s)).CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Fatal(err)
	}
	if len(files(t, temp)) == 0 {
		t.Fatal("the store is not in the temporary directory, so this test proves nothing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, temp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestMemoryClearsWhatADeadServerLeft(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	dead := filepath.Join(temp, "runnel-nats-dead")
	alive := filepath.Join(temp, "runnel-nats-alive")
	for _, dir := range []string{dead, alive} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-time.Hour)
		if err := os.Chtimes(dir, long, long); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockfile.Try(filepath.Join(alive, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	start(t, embedded.Config{Memory: true, InProcessOnly: true})
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dead server's directory is still there (%v)", err)
	}
	if _, err := os.Stat(alive); err != nil {
		t.Errorf("the living server's directory: %v", err)
	}
}

func TestInProcessOnlyListensNowhere(t *testing.T) {
	s := start(t, embedded.Config{Memory: true, InProcessOnly: true})
	if s.URL() != "" || s.ListenAddress() != "" || s.SeedFile() != "" {
		t.Errorf("got URL %q, address %q, seed file %q, want none", s.URL(), s.ListenAddress(), s.SeedFile())
	}
	if nc := connect(t, s); !nc.IsConnected() {
		t.Error("not connected")
	}
}

func TestOnlyTheSeedLetsIn(t *testing.T) {
	s := start(t, embedded.Config{DataDir: t.TempDir(), Port: embedded.AnyPort})
	if host, _, _ := net.SplitHostPort(s.ListenAddress()); host != "127.0.0.1" {
		t.Errorf("listens on %s, want 127.0.0.1 only", host)
	}
	if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without credentials: got %v, %v, want an authorization error", nc, err)
	}
	if nc, err := nats.Connect(s.URL(), nats.UserInfo("root", "root")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("with a password: got %v, %v, want an authorization error", nc, err)
	}
	key, err := nats.NkeyOptionFromSeed(s.SeedFile())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL(), key)
	if err != nil {
		t.Fatalf("with the seed: %v", err)
	}
	nc.Close()
	connect(t, s)
}

func TestSeedIsPrivateAndStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "us")
	first := start(t, embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	seed := first.Seed()
	if text, err := os.ReadFile(first.SeedFile()); err != nil || strings.TrimSpace(string(text)) != string(seed) {
		t.Errorf("seed file: got %q, %v, want the seed", text, err)
	}
	first.Close()
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if runtime.GOOS != "windows" {
		if got := mode(first.SeedFile()); got != 0o600 {
			t.Errorf("mode of the seed: got %o, want 600", got)
		}
		if got := mode(dir); got != 0o700 {
			t.Errorf("mode of the data directory: got %o, want 700", got)
		}
		if err := os.Chmod(first.SeedFile(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	second := start(t, embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if string(second.Seed()) != string(seed) {
		t.Error("the seed changed with a restart")
	}
	if got := mode(second.SeedFile()); runtime.GOOS != "windows" && got != 0o600 {
		t.Errorf("mode of a seed that was opened to others: got %o, want 600", got)
	}
}

func TestBadSeedIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "user.nk"), []byte("SUAnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err == nil {
		s.Close()
		t.Fatal("started with half a seed")
	}
	if want := filepath.Join(dir, "user.nk"); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want an error that names %s", err, want)
	}
}

func TestBusyPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	s, err := embedded.Start(embedded.Config{DataDir: t.TempDir(), Port: port})
	if err == nil {
		s.Close()
		t.Fatal("started on a busy port")
	}
	want := fmt.Sprintf("cannot listen on 127.0.0.1:%d: address already in use", port)
	if err.Error() != want || !errors.Is(err, embedded.ErrAddressInUse) {
		t.Errorf("got %q, want %q, an ErrAddressInUse", err, want)
	}
}

func TestAddressOfAnotherMachine(t *testing.T) {
	s, err := embedded.Start(embedded.Config{DataDir: t.TempDir(), Host: "192.0.2.1", Port: 4999})
	if err == nil {
		s.Close()
		t.Fatal("listens on an address that is not ours")
	}
	if want := "cannot listen on 192.0.2.1:4999: "; !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "192.0.2.1") != 1 {
		t.Errorf("got %q, want %q and the cause", err, want)
	}
}

func TestUnusableDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "data")
	s, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err == nil {
		s.Close()
		t.Fatal("started under a file")
	}
	if want := "cannot use data directory " + dir + ": "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q, want %q and the cause", err, want)
	}
}

func TestReadOnlyDataDir(t *testing.T) {
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("permissions don't bind root, nor Windows")
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err == nil {
		s.Close()
		t.Fatal("started in a directory that can't be written")
	}
	if want := "cannot use data directory " + dir + ": permission denied"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestOneServerADirectory(t *testing.T) {
	dir := t.TempDir()
	first := start(t, embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	second, err := embedded.Start(embedded.Config{DataDir: dir, Port: embedded.AnyPort})
	if err == nil {
		second.Close()
		t.Fatal("two servers on one store")
	}
	if !errors.Is(err, embedded.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if locked, err := lockfile.Locked(first.LockFile()); !locked || err != nil {
		t.Errorf("the lock of a running server: got %v, %v, want held", locked, err)
	}
	first.Close()
	if locked, err := lockfile.Locked(first.LockFile()); locked || err != nil {
		t.Errorf("the lock of a closed server: got %v, %v, want free", locked, err)
	}
	start(t, embedded.Config{DataDir: dir, Port: embedded.AnyPort})
}

func TestContradictionsAreRefused(t *testing.T) {
	for name, cfg := range map[string]embedded.Config{
		"no store":   {},
		"two stores": {Memory: true, DataDir: "x"},
		"no port":    {Memory: true, Port: 70000},
	} {
		if s, err := embedded.Start(cfg); err == nil {
			s.Close()
			t.Errorf("%s: started", name)
		}
	}
}

// A server that is killed leaves its lock, its port and its store as a power
// failure would; the next one starts at once and has what was acknowledged.
func TestRestartAfterKill(t *testing.T) {
	dir := t.TempDir()
	url, kill := startChild(t, dir)
	key, err := nats.NkeyOptionFromSeed(filepath.Join(dir, "user.nk"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, key)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js := jetStream(t, nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	const messages = 100
	for range messages {
		if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	kill()

	began := time.Now()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "nats://"))
	cfg := embedded.Config{DataDir: dir}
	fmt.Sscan(port, &cfg.Port) // the same port, with connections that died with the server
	s := start(t, cfg)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("restart took %v", took)
	}
	stream, err := jetStream(t, connect(t, s)).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != messages {
		t.Errorf("messages after the restart: got %d, want %d", got, messages)
	}
}

func startChild(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dirOfChild+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child did not start: %v", err)
	}
	return strings.TrimSpace(url), kill
}

func TestStaysQuietUnlessAskedForDebug(t *testing.T) {
	var text strings.Builder
	quiet := slog.New(slog.NewTextHandler(&text, nil))
	s := start(t, embedded.Config{Memory: true, InProcessOnly: true, Logger: quiet})
	s.Close()
	if text.Len() > 0 {
		t.Errorf("at level info: %s", &text)
	}
	debug := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s = start(t, embedded.Config{Memory: true, InProcessOnly: true, Logger: debug})
	s.Close()
	if !strings.Contains(text.String(), "Server is ready") {
		t.Errorf("at level debug: got %q, want the server's own log", &text)
	}
}

func TestSyncAlwaysStores(t *testing.T) {
	s := start(t, embedded.Config{DataDir: t.TempDir(), InProcessOnly: true, SyncAlways: true})
	js := jetStream(t, connect(t, s))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := js.Publish(ctx, "s", nil); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := embedded.Start(embedded.Config{Memory: true, InProcessOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		nc, err := s.Connect()
		if err != nil {
			b.Fatal(err)
		}
		nc.Close()
		s.Close()
	}
}
