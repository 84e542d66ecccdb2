package logs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestOutputComesBack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	random := make([]byte, 4<<20/bigPart)
	r := rand.NewChaCha8([32]byte{2})
	r.Read(random)
	for name, text := range map[string]string{
		"empty":           "",
		"one":             "hello\n",
		"million":         strings.Repeat(strings.Repeat("x", 99)+"\n", 1_000_000/bigPart),
		"random":          string(random),
		"one-line":        strings.Repeat("x", 20<<20/bigPart),
		"without-newline": "a\nb",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := h.config(h.js)
			cfg.Subject = space.Log("web1", name)
			options := h.options()
			options.Subject, options.Live = cfg.Subject, true

			fresh, err := Listen(h.nc, space.LogAny(name))
			if err != nil {
				t.Fatal(err)
			}
			freshOptions := options
			freshOptions.Fresh = fresh
			live := inBackground(t, h.ctx(), h.js, freshOptions)
			consumer := inBackground(t, h.ctx(), h.js, options)

			w := Open(cfg)
			for p := []byte(text); len(p) > 0; {
				n := min(len(p), 256<<10)
				if err := w.Write(lines.Stdout, p[:n]); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
			totals := h.close(w)
			if totals.Bytes != int64(len(text)) {
				// An unfinished last line has no newline, so these are the same.
				t.Errorf("totals tell of %d bytes, want %d", totals.Bytes, len(text))
			}
			past := follow(t, h.ctx(), h.js, options)
			for reader, o := range map[string]*output{"live": live(), "consumer": consumer(), "past": past} {
				got := o.text[0].String()
				if !strings.HasSuffix(text, "\n") {
					got = strings.TrimSuffix(got, "\n")
				}
				if got != text || !o.result.Verified || o.ends != 1 {
					t.Errorf("%s: %d bytes, want %d; %+v", reader, len(got), len(text), o.result)
				}
				if o.result.End.SHA256 != totals.SHA256 || o.result.End.Lines != totals.Lines {
					t.Errorf("%s: EOF %+v, totals %+v", reader, o.result.End, totals)
				}
			}
			h.noConsumers()
			h.noSpool()
		})
	}
}

func TestTwoStreamsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	var want [2]strings.Builder
	for i := range 4000 {
		for s := range 2 {
			line := fmt.Sprintf("line %d of %d\n", i, s)
			want[s].WriteString(line)
			if err := w.Write(lines.Stream(s), []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.close(w)
	o := follow(t, h.ctx(), h.js, h.options())
	o.whole(t, want[0].String())
	if got := o.text[lines.Stderr].String(); got != want[1].String() {
		t.Errorf("stderr: %s", difference(got, want[1].String()))
	}
	options := h.options()
	options.Streams = []lines.Stream{lines.Stderr}
	o = follow(t, h.ctx(), h.js, options)
	if o.text[0].Len() != 0 || o.text[1].String() != want[1].String() || !o.result.Verified {
		t.Errorf("stderr alone: %d and %d bytes, %+v", o.text[0].Len(), o.text[1].Len(), o.result)
	}
}

// What a user sees without any of our code: plain records, in order, Runner-Seq on each message.
func TestPlainClientReads(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	sub, err := h.nc.SubscribeSync(space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	w := Open(h.config(h.js))
	write(t, w, "prompt: ")
	w.Quiet(true)
	h.close(w)
	for i, want := range []string{`"tag":"BOL","message":"prompt: "}` + "\n", `"lines":1,"bytes":8,`} {
		msg, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(msg.Data), want) || msg.Header.Get("Runner-Seq") != fmt.Sprint(i+1) {
			t.Errorf("message %d: %s %s, want %s", i+1, msg.Header, msg.Data, want)
		}
	}
}

func TestServerRestartedInTheMiddle(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	options := h.options()
	options.Live = true
	sub, err := Listen(h.nc, space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	freshOptions := options
	freshOptions.Fresh = sub
	fresh := inBackground(t, h.ctx(), h.js, freshOptions)
	consumer := inBackground(t, h.ctx(), h.js, options)

	w := Open(h.config(h.js))
	var want strings.Builder
	for i := range 300 {
		if i == 100 {
			h.stop()
		}
		if i == 150 {
			h.start()
		}
		text := numbered(i*100, i*100+100)
		want.WriteString(text)
		write(t, w, text)
	}
	h.close(w)
	fresh().whole(t, want.String())
	consumer().whole(t, want.String())
	follow(t, h.ctx(), h.js, h.options()).whole(t, want.String())
	h.noSpool()
}

func TestServerGoneUsesSpool(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	text := numbered(0, 1000)
	write(t, w, text)
	h.stop()
	// More than two messages: this returns only because the spool takes them.
	more := strings.Repeat(strings.Repeat("y", 99)+"\n", 30_000)
	write(t, w, more)
	if info, err := os.Stat(filepath.Join(h.dir, "spool")); err != nil || info.Size() < 2<<20 || info.Mode().Perm() != 0o600 {
		t.Errorf("spool: %v, %v; want a file of megabytes, mode 0600", info, err)
	}
	h.start()
	write(t, w, "the end\n")
	h.close(w)
	follow(t, h.ctx(), h.js, h.options()).whole(t, text+more+"the end\n")
	h.noSpool()
}

func TestFullSpool(t *testing.T) {
	t.Parallel()
	for _, overflow := range []string{OverflowBlock, OverflowDrop} {
		t.Run(overflow, func(t *testing.T) {
			h := newHost(t)
			cfg := h.config(h.js)
			cfg.SpoolMaxBytes = 2 << 20
			cfg.Overflow = overflow
			w := Open(cfg)
			write(t, w, "begin\n")
			h.stop()
			text := strings.Repeat(strings.Repeat("y", 99)+"\n", 100_000)
			wrote := make(chan error, 1)
			go func() { wrote <- w.Write(lines.Stdout, []byte(text)) }()
			if overflow == OverflowDrop {
				if err := <-wrote; err != nil {
					t.Fatal(err)
				}
			} else {
				select {
				case err := <-wrote:
					t.Errorf("Write returned (%v) though there is no room", err)
				case <-time.After(2 * time.Second):
				}
			}
			h.start()
			if overflow == OverflowBlock {
				if err := <-wrote; err != nil {
					t.Fatal(err)
				}
				write(t, w, "end\n")
				h.close(w)
				follow(t, h.ctx(), h.js, h.options()).whole(t, "begin\n"+text+"end\n")
				return
			}
			rig.Eventually(t, "the spool is sent", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return !w.sending
			})
			write(t, w, "end\n")
			totals := h.close(w)
			o := follow(t, h.ctx(), h.js, h.options())
			got := o.text[0].String()
			if !o.result.Verified || o.gaps != 1 || !strings.HasPrefix(got, "begin\nyyy") || !strings.HasSuffix(got, "y\nend\n") {
				t.Errorf("%+v, %d gaps, %.20q…", o.result, o.gaps, got)
			}
			if d := totals.Dropped; d.Bytes == 0 || d.Bytes+totals.Bytes != int64(len(text)+len("begin\nend\n")) || d != o.result.End.Dropped {
				t.Errorf("totals %+v, EOF %+v; want all bytes stored or dropped", totals, o.result.End)
			}
		})
	}
}

func TestMaxBytesCutsOutput(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.MaxBytes = 100
	w := Open(cfg)
	write(t, w, numbered(0, 1000))
	totals := h.close(w)
	o := follow(t, h.ctx(), h.js, h.options())
	if !o.result.Verified || o.gaps != 1 || totals.Bytes > 100 || totals.Lines+totals.Dropped.Lines != 1000 {
		t.Errorf("totals %+v, result %+v, %d gaps", totals, o.result, o.gaps)
	}
}

func TestFencedWriterStops(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	fenced := make(chan error, 10)
	cfg := h.config(h.js)
	cfg.OnFenced = func(err error) { fenced <- err }
	w := Open(cfg)
	write(t, w, "a\n")
	rig.Eventually(t, "it is stored", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.sending })

	totals, err := CloseLost(h.ctx(), h.js, cfg.Subject, lines.End{State: "FAILED", Reason: "lost"})
	if err != nil || totals.Lines != 1 {
		t.Fatalf("CloseLost: %+v, %v", totals, err)
	}
	write(t, w, "b\n")
	if err := <-fenced; !errors.Is(err, ErrFenced) {
		t.Errorf("OnFenced got %v", err)
	}
	rig.Eventually(t, "Write fails", func() bool { return errors.Is(w.Write(lines.Stdout, []byte("c\n")), ErrFenced) })
	if _, err := w.Close(h.ctx(), done); !errors.Is(err, ErrFenced) {
		t.Errorf("Close: %v, want %v", err, ErrFenced)
	}
	o := follow(t, h.ctx(), h.js, h.options())
	o.whole(t, "a\n")
	if o.result.End.Reason != "lost" {
		t.Errorf("EOF %+v, want reason lost", o.result.End)
	}
	if len(fenced) != 0 {
		t.Error("OnFenced was called twice")
	}
	again, err := CloseLost(h.ctx(), h.js, cfg.Subject, lines.End{State: "FAILED", Reason: "other"})
	if err != nil || again != totals {
		t.Errorf("CloseLost again: %+v, %v; want what the first returned", again, err)
	}
	h.noSpool()
	h.noConsumers()
}

// A log that exists is nobody else's to write, though its writer is gone.
func TestSecondWriterIsFenced(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, "a\n")
	h.close(w)
	second := Open(h.config(h.js))
	write(t, second, "b\n")
	if _, err := second.Close(h.ctx(), done); !errors.Is(err, ErrFenced) {
		t.Errorf("Close: %v, want %v", err, ErrFenced)
	}
	follow(t, h.ctx(), h.js, h.options()).whole(t, "a\n")
}
