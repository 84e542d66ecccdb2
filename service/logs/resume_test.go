package logs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestResumeAfterAbandon(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	text := numbered(0, 100)
	write(t, w, text)
	rig.Eventually(t, "it is stored", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.sending })
	h.stop()
	write(t, w, "b\nc")
	w.Abandon(errors.New("going down"))
	if err := w.Write(lines.Stdout, nil); err == nil {
		t.Error("Write after Abandon: no error")
	}
	h.start()
	totals, err := Resume(h.ctx(), h.config(h.js), lines.End{State: "FAILED", Reason: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	o := follow(t, h.ctx(), h.js, h.options())
	o.whole(t, text+"b\nc")
	if totals.Lines != 102 || totals.SHA256 != o.result.End.SHA256 {
		t.Errorf("totals %+v, EOF %+v", totals, o.result.End)
	}
	h.noSpool()
	again, err := Resume(h.ctx(), h.config(h.js), done)
	if err != nil || again != totals {
		t.Errorf("Resume again: %+v, %v; want %+v", again, err, totals)
	}
	h.noConsumers()
}

func TestResumeOfARunWithoutOutput(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if _, err := Resume(h.ctx(), h.config(h.js), done); err != nil {
		t.Fatal(err)
	}
	follow(t, h.ctx(), h.js, h.options()).whole(t, "")
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	h.stop()
	write(t, w, "a\nb")
	ctx, cancel := context.WithTimeout(h.ctx(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.Close(ctx, done); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want %v", err, context.DeadlineExceeded)
	}
	h.start()
	if _, err := Resume(h.ctx(), h.config(h.js), done); err != nil {
		t.Fatal(err)
	}
	follow(t, h.ctx(), h.js, h.options()).whole(t, "a\nb")
}

const childVar = "RUNNEL_LOGS_CHILD"

// child is a runner that writes until it is killed.
func child() {
	args := strings.Split(os.Getenv(childVar), " ")
	key, err := nats.NkeyOptionFromSeed(args[1])
	if err != nil {
		panic(err)
	}
	nc, err := nats.Connect(args[0], key, nats.ReconnectBufSize(-1), nats.MaxReconnects(-1))
	if err != nil {
		panic(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		panic(err)
	}
	w := Open(Config{JS: js, Subject: space.Log("web1", runID), SpoolPath: args[2]})
	for i := 0; ; i += 1000 {
		if err := w.Write(lines.Stdout, []byte(numbered(i, i+1000))); err != nil {
			panic(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// The runner is killed while the server is gone: all that it had put into the spool is in the log in the end.
func TestResumeAfterKill(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	spoolPath := filepath.Join(h.dir, "spool")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join([]string{h.srv.URL(), h.srv.SeedFile(), spoolPath}, " "))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	size := func() int64 {
		info, err := os.Stat(spoolPath)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	log := &stored{h.js, space.LogStream(), space.Log("web1", runID)}
	rig.Eventually(t, "something is stored", func() bool { _, err := log.last(h.ctx()); return err == nil })
	h.stop()
	rig.Eventually(t, "the spool is used", func() bool { return size() > 200_000 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()

	// As if it had been killed in the middle of a write.
	left, err := openSpool(spoolPath)
	if err != nil {
		t.Fatal(err)
	}
	var last, body []byte
	for {
		var m outgoing
		m, err = left.next(body)
		n := m.number
		body = m.body
		if err != nil {
			break
		}
		if n == 0 {
			t.Fatal("a message without a number")
		}
		last = append(last[:0], body...)
		left.read += left.frame
	}
	left.file.Close()
	if err := os.Truncate(spoolPath, left.read); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(spoolPath, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(bytes.Repeat([]byte{7}, 30)); err != nil {
		t.Fatal(err)
	}
	file.Close()

	h.start()
	totals, err := Resume(h.ctx(), h.config(h.js), lines.End{State: "FAILED", Reason: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	o := follow(t, h.ctx(), h.js, h.options())
	o.whole(t, numbered(0, int(totals.Lines)))
	var lastPos int64
	if err := lines.Decode(last, func(r lines.Record) error { lastPos = r.Pos; return nil }); err != nil {
		t.Fatal(err)
	}
	if totals.Lines != lastPos {
		t.Errorf("%d lines in the log, want %d: what the spool has", totals.Lines, lastPos)
	}
	h.noSpool()
}
