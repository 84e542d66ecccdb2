// Package stream sends logs: as text, whole or a range of it, and as server-sent
// events that go on where their reader left off.
package stream

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
)

// commentTime is how often a stream of events shows that it lives.
const commentTime = 15 * time.Second

// Events sends server-sent events. What is written is sent at once, and
// together where the client is slower than it comes; the client holds back who
// writes, so that nothing is dropped.
type Events struct {
	mu    sync.Mutex
	out   *bufio.Writer
	flush func() error
	err   error // of a write; nothing is written after it
	dirty chan struct{}
	wg    sync.WaitGroup
	stop  context.CancelFunc
}

// Open begins an answer of events. Its context ends with the request, when
// the client takes nothing for too long, when the caller's token expires, and
// with life; done is for the end of the handler.
func Open(life context.Context, w http.ResponseWriter, r *http.Request) (ctx context.Context, s *Events, done func()) {
	ctx, cancel := context.WithCancel(r.Context()) // no deadline: what asks NATS has its own where there is none
	unhook := context.AfterFunc(life, cancel)
	expired := func() bool { return true }
	if until := auth.CallerOf(r.Context()).Until; !until.IsZero() {
		expired = time.AfterFunc(time.Until(until), cancel).Stop
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // a proxy must not keep them back
	w.WriteHeader(http.StatusOK)
	s = &Events{out: bufio.NewWriterSize(w, 16<<10), dirty: make(chan struct{}, 1), stop: cancel}
	s.flush = func() error {
		if err := s.out.Flush(); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	}
	s.write(": events\n\n")
	s.wg.Go(func() { s.keepSending(ctx) })
	return ctx, s, func() {
		unhook()
		expired()
		cancel()
		s.wg.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err == nil {
			_ = s.flush()
		}
	}
}

func (s *Events) keepSending(ctx context.Context) {
	comment := time.NewTicker(commentTime)
	defer comment.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-comment.C:
			s.write(": still here\n\n")
			continue
		case <-s.dirty:
		}
		s.mu.Lock()
		if s.err == nil {
			s.err = s.flush()
		}
		failed := s.err != nil
		s.mu.Unlock()
		if failed {
			s.stop()
			return
		}
	}
}

func (s *Events) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_, s.err = s.out.WriteString(text)
	}
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// Event sends one; kind and id may be empty. The data is one line.
func (s *Events) Event(kind, id string, data []byte) error {
	return s.EventOf(kind, id, func(out *bufio.Writer) { _, _ = out.Write(data) })
}

// EventOf sends an event whose data is written by a function.
func (s *Events) EventOf(kind, id string, data func(*bufio.Writer)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if kind != "" {
		_, _ = fmt.Fprintf(s.out, "event: %s\n", kind)
	}
	if id != "" {
		_, _ = fmt.Fprintf(s.out, "id: %s\n", id)
	}
	_, _ = s.out.WriteString("data: ")
	data(s.out)
	_, s.err = s.out.WriteString("\n\n")
	select {
	case s.dirty <- struct{}{}:
	default:
	}
	return s.err
}

// Place tells a client an id without an event.
func (s *Events) Place(id string) { s.write("id: " + id + "\n\n") }
