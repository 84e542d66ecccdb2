package logs

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
)

// blocked begins a Write that finds no room: the server is gone, and so is room in the spool.
func blocked(t *testing.T, h *host, w *Writer, text string) <-chan error {
	t.Helper()
	write(t, w, "begin\n")
	rig.Eventually(t, "the beginning is stored", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.sending })
	h.stop()
	wrote := make(chan error, 1)
	go func() { wrote <- w.Write(lines.Stdout, []byte(text)) }()
	rig.Eventually(t, "the stream is slow", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.slow })
	select {
	case err := <-wrote:
		t.Fatalf("Write returned (%v) though there is no room", err)
	case <-time.After(300 * time.Millisecond):
	}
	return wrote
}

// A run that is blocked on its output and is to end: Write comes back, and the log says what is missing.
func TestUnblock(t *testing.T) {
	text := strings.Repeat(strings.Repeat("y", 99)+"\n", 60_000)
	for name, spool := range map[string]func(*Config){
		"full":         func(cfg *Config) { cfg.SpoolMaxBytes = 1 << 20 },
		"not writable": func(cfg *Config) { cfg.SpoolPath = filepath.Join(cfg.SpoolPath, "nowhere", "spool") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			cfg := h.config(h.js)
			spool(&cfg)
			w := Open(cfg)
			wrote := blocked(t, h, w, text)
			w.Unblock()
			w.Unblock()
			select {
			case err := <-wrote:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("Write still waits")
			}
			write(t, w, "more\n")
			h.start()
			totals := h.close(w)
			o := follow(t, h.ctx(), h.js, h.options())
			if !o.result.Verified || o.gaps == 0 || totals.Dropped.Lines == 0 || o.result.End.Dropped != totals.Dropped {
				t.Errorf("%+v, %d gaps, totals %+v", o.result, o.gaps, totals)
			}
		})
	}
}

// Abandon ends a Write and a Close that wait for a server which is gone.
func TestAbandonEndsWriteAndClose(t *testing.T) {
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.SpoolMaxBytes = 1 << 20
	w := Open(cfg)
	wrote := blocked(t, h, w, strings.Repeat(strings.Repeat("y", 99)+"\n", 60_000))
	cause := errors.New("the runner stops")
	w.Abandon(cause)
	select {
	case err := <-wrote:
		if !errors.Is(err, cause) {
			t.Errorf("Write returned %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Write still waits")
	}
	if _, err := w.Close(h.ctx(), done); !errors.Is(err, cause) {
		t.Errorf("Close returned %v", err)
	}
}
