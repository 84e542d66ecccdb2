package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
)

// tmpfs mounts a small file system.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillBytes and fillInodes take all there is, and return how to give it back.
func fillBytes(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err == nil {
			_, err = file.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	return func() { _ = os.Remove(path) }
}

func fillInodes(t *testing.T, dir string) (free func()) {
	t.Helper()
	many := filepath.Join(dir, "many")
	if err := os.Mkdir(many, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(many, fmt.Sprint(i)), nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			return func() { _ = os.RemoveAll(many) }
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A disk that was full for a while: the server is back soon after there is room,
// where it was, with all that it had acknowledged, and says it in two lines.
func TestFullDiskIsGotOver(t *testing.T) {
	for name, c := range map[string]struct {
		options string
		fill    func(*testing.T, string) func()
	}{
		"bytes":  {"size=24m", fillBytes},
		"inodes": {"size=256m,nr_inodes=200", fillInodes},
	} {
		t.Run(name, func(t *testing.T) { fullDisk(t, tmpfs(t, c.options), c.fill) })
	}
}

func fullDisk(t *testing.T, dir string, fill func(*testing.T, string) func()) {
	var log lockedBuffer
	s, err := embedded.Start(embedded.Config{
		DataDir: filepath.Join(dir, "data"), Port: embedded.AnyPort, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	url := s.URL()
	seed, err := nats.NkeyOptionFromSeed(s.SeedFile())
	if err != nil {
		t.Fatal(err)
	}
	far, err := nats.Connect(url, seed, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := s.Connect(nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	js, err := jetstream.New(near)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, MaxBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	var acked []uint64
	publish := func(size int) error {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		ack, err := js.Publish(attempt, "s", make([]byte, size))
		if err == nil {
			acked = append(acked, ack.Sequence)
		}
		return err
	}
	for range 20 {
		if err := publish(10 << 10); err != nil {
			t.Fatal(err)
		}
	}
	free := fill(t, dir)
	deadline := time.Now().Add(time.Minute)
	for s.Trouble() == nil && time.Now().Before(deadline) {
		_ = publish(64 << 10)
		_, _ = js.CreateStream(ctx, jetstream.StreamConfig{Name: fmt.Sprintf("S%d", time.Now().UnixNano()), Subjects: []string{fmt.Sprintf("x%d", time.Now().UnixNano())}, MaxBytes: 1})
	}
	if err := s.Trouble(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want no space left on device", err)
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		_ = publish(1 << 10)
	}
	free()
	freed := time.Now()
	for publish(1<<10) != nil {
		if time.Since(freed) > time.Minute {
			t.Fatalf("nothing can be stored %s after there was room; log:\n%s", time.Since(freed), log.String())
		}
	}
	t.Logf("stored again %s after there was room", time.Since(freed))
	if err := s.Trouble(); err != nil || s.URL() != url {
		t.Errorf("got trouble %v, url %s, want %s", err, s.URL(), url)
	}
	stream, err := js.Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range acked {
		if _, err := stream.GetMsg(ctx, seq); err != nil {
			t.Errorf("message %d was acknowledged: %v", seq, err)
		}
	}
	if err := far.FlushTimeout(10 * time.Second); err != nil {
		t.Errorf("a client over the network is not back: %v", err)
	}
	if lines := strings.Count(log.String(), "no space left"); lines != 1 {
		t.Errorf("%d lines say it, want one:\n%s", lines, log.String())
	}
}
