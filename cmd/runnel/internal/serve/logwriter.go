package serve

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// logQueueBytes is how much text may wait for a slow reader of the log.
	logQueueBytes = 1 << 20
	// logPatience is how long the end of the server waits for that reader.
	logPatience = time.Second
)

// logWriter is a log that never holds up its writer. Lines wait in a bounded
// queue while their reader is slow. Those that find it full, and those that can't
// be written, are lost: they are counted, and the count is written as soon as
// something can be.
type logWriter struct {
	to   io.Writer
	done chan struct{} // closed when the queue is written and Close was called

	mu     sync.Mutex
	wake   *sync.Cond
	queue  []logEntry
	bytes  int
	lost   int // lines since the last entry
	closed bool
}

// logEntry is what one Write wrote, and how many lines were lost before it.
type logEntry struct {
	lost int
	text []byte
}

func newLogWriter(to io.Writer) *logWriter {
	w := &logWriter{to: to, done: make(chan struct{})}
	w.wake = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write never fails and never waits.
func (w *logWriter) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.bytes+len(text) > logQueueBytes {
		w.lost += lineCount(text)
		return len(text), nil
	}
	w.queue = append(w.queue, logEntry{w.lost, bytes.Clone(text)})
	w.lost = 0
	w.bytes += len(text)
	w.wake.Signal()
	return len(text), nil
}

// Close writes what waits, unless the reader takes longer than logPatience.
func (w *logWriter) Close() {
	w.mu.Lock()
	w.closed = true
	w.wake.Signal()
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(logPatience):
	}
}

func (w *logWriter) run() {
	defer close(w.done)
	unwritten := 0
	for {
		entry, more := w.next()
		if !more {
			return
		}
		entry.lost += unwritten
		unwritten = 0
		if entry.lost > 0 {
			notice := fmt.Sprintf("runnel: %s of this log are lost: standard error did not take them in time\n", linesText(entry.lost))
			if _, err := io.WriteString(w.to, notice); err != nil {
				unwritten = entry.lost + lineCount(entry.text)
				continue
			}
		}
		if _, err := w.to.Write(entry.text); err != nil {
			unwritten = lineCount(entry.text)
		}
	}
}

// next waits for an entry. What was lost after the last one comes as an entry
// without text as soon as the queue is empty.
func (w *logWriter) next() (entry logEntry, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 {
		if w.lost > 0 {
			entry.lost, w.lost = w.lost, 0
			return entry, true
		}
		if w.closed {
			return entry, false
		}
		w.wake.Wait()
	}
	entry = w.queue[0]
	w.queue[0] = logEntry{}
	w.queue = w.queue[1:]
	w.bytes -= len(entry.text)
	return entry, true
}

// lineCount counts a last line without a newline, too.
func lineCount(text []byte) int {
	n := bytes.Count(text, []byte{'\n'})
	if len(text) > 0 && text[len(text)-1] != '\n' {
		n++
	}
	return n
}

func linesText(n int) string {
	if n == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", n)
}
