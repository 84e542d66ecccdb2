package logs

import (
	"errors"
	"os"
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
	t.Parallel()
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
	t.Parallel()
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
	// The spool says what is missing, so the log does.
	h.start()
	end, err := Resume(h.ctx(), cfg, done)
	if err != nil {
		t.Fatal(err)
	}
	o := follow(t, h.ctx(), h.js, h.options())
	if !o.result.Verified || o.gaps == 0 || end.Dropped.Bytes == 0 || end.Dropped.Lines < 1000 {
		t.Errorf("%+v, %d gaps, EOF %+v", o.result, o.gaps, end)
	}
	if got := end.Bytes + end.Dropped.Bytes; got%100 != int64(len("begin\n")) {
		t.Errorf("%d bytes are stored and %d missing, which is no number of whole lines", end.Bytes, end.Dropped.Bytes)
	}
}

// The message in flight may have been stored after all: what tells of it in the spool is passed over then.
func TestMissingMessageWasStored(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	w := Open(cfg)
	write(t, w, "a\n")
	h.settled(w)
	cutter := lines.NewCutter(lines.Config{})
	first := cutter.Head()
	cutter.Write(lines.Stdout, []byte("a\n"), time.Now())
	cutter.Next(nil)
	second := cutter.Head()
	cutter.Write(lines.Stdout, []byte("b\nc\n"), time.Now())
	left := &spool{path: cfg.SpoolPath, maxBytes: 1}
	for i, m := range []outgoing{
		{head: first, body: lines.Missing(first, second, time.Now()), missing: true},
		{head: second, body: lines.Missing(second, cutter.EndHead(), time.Now()), missing: true},
	} {
		m.number = uint64(i + 1)
		if err := left.append(m); err != nil {
			t.Fatal(err)
		}
	}
	left.file.Close()
	w.Abandon(errClosed)
	if _, err := os.Stat(cfg.SpoolPath); err != nil {
		t.Fatal(err)
	}
	end, err := Resume(h.ctx(), cfg, done)
	if err != nil || end.Lines != 1 || end.Dropped != (lines.Gap{Lines: 2, Bytes: 4}) {
		t.Errorf("got %+v, %v", end, err)
	}
	if o := follow(t, h.ctx(), h.js, h.options()); !o.result.Verified || o.text[0].String() != "a\n" {
		t.Errorf("%+v, %q", o.result, o.text[0].String())
	}
}

// A message that was put into the spool while it waited for its ack is not sent again after it.
func TestSpooledInFlightIsSentOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	h.stop()
	write(t, w, "a\n")
	rig.Eventually(t, "it is in the spool", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.inflight.spooled })
	h.start()
	h.settled(w)
	write(t, w, "b\n")
	h.close(w)
	log := &stored{h.js, space.LogStream(), space.Log("web1", runID)}
	for want, seq := uint64(1), uint64(1); want <= 3; want++ {
		m, err := log.at(h.ctx(), seq)
		if err != nil || m.runnerSeq != want {
			t.Fatalf("message %d says that it is %d, %v", want, m.runnerSeq, err)
		}
		seq = m.seq + 1
	}
}
