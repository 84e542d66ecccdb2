package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// gatedWriter takes text only while its gate is open, and fails while it is broken.
type gatedWriter struct {
	mu     sync.Mutex
	opened *sync.Cond
	shut   bool
	broken error
	got    bytes.Buffer
}

func newGatedWriter() *gatedWriter {
	g := &gatedWriter{}
	g.opened = sync.NewCond(&g.mu)
	return g
}

func (g *gatedWriter) Write(text []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.opened.Wait()
	}
	if g.broken != nil {
		return 0, g.broken
	}
	return g.got.Write(text)
}

func (g *gatedWriter) set(shut bool, broken error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.broken = shut, broken
	g.opened.Broadcast()
}

func (g *gatedWriter) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.String()
}

// until waits for the writer's reader to have seen a text.
func (g *gatedWriter) until(t *testing.T, want string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if text := g.text(); strings.Contains(text, want) {
			return text
		}
	}
	t.Fatalf("the log never has %q: it has %d bytes", want, len(g.text()))
	return ""
}

func TestLogKeepsEveryLineOfAReaderThatReads(t *testing.T) {
	g := newGatedWriter()
	w := newLogWriter(g)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	w.Close()
	<-w.done // a busy machine may take longer than Close waits
	if got := g.text(); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
}

// A reader that stalls costs lines, which are counted where they are missing.
func TestLogOfAStalledReader(t *testing.T) {
	g := newGatedWriter()
	g.set(true, nil)
	w := newLogWriter(g)
	line := strings.Repeat("x", 1023) + "\n"
	const written = 3000
	for range written {
		if n, err := io.WriteString(w, line); n != len(line) || err != nil {
			t.Fatalf("got %d, %v, want the whole line taken", n, err)
		}
	}
	g.set(false, nil)
	g.until(t, "are lost: standard error did not take them in time\n")
	io.WriteString(w, "after\n")
	text := g.until(t, "after\n")
	w.Close()
	kept := strings.Count(text, line)
	if kept < 1000 || kept > 1100 {
		t.Errorf("%d lines are kept, want what a queue of 1 MiB holds", kept)
	}
	lost := 0
	for _, notice := range regexp.MustCompile(`(?m)^runnel: (\d+) lines? of this log are lost`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(notice[1])
		lost += n
	}
	if lost != written-kept { // in two places where the first line was taken late
		t.Errorf("%d lines are said to be lost, want %d", lost, written-kept)
	}
	if !strings.HasSuffix(text, "in time\nafter\n") {
		t.Errorf("the count is not where the lines are missing: %q", text[len(text)-200:])
	}
}

// A log that can't be written for a while says later how much is missing.
func TestLogThatCannotBeWritten(t *testing.T) {
	g := newGatedWriter()
	g.set(false, errors.New("broken pipe"))
	w := newLogWriter(g)
	io.WriteString(w, "one\ntwo\n")
	io.WriteString(w, "three\n")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		waiting := len(w.queue)
		w.mu.Unlock()
		if waiting == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the queue is never tried")
		}
	}
	// The last of them may be in the middle of its write: one more is after it.
	io.WriteString(w, "four\n")
	g.set(false, nil)
	io.WriteString(w, "five\n")
	text := g.until(t, "five\n")
	w.Close()
	if !strings.Contains(text, " lines of this log are lost") {
		t.Errorf("got %q, want the count of what is lost", text)
	}
}

// The end of the server does not wait for a reader that has stalled.
func TestCloseOfAStalledLogEnds(t *testing.T) {
	g := newGatedWriter()
	g.set(true, nil)
	defer g.set(false, nil)
	w := newLogWriter(g)
	io.WriteString(w, "never read\n")
	ended := make(chan struct{})
	go func() {
		w.Close()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(10 * logPatience):
		t.Fatal("Close waits for a reader that has stalled")
	}
}
