package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/subjects"
)

// What a Writer does when the spool is full, too.
const (
	OverflowBlock = "block" // the process waits
	OverflowDrop  = "drop"  // its output is dropped, and a GAP record says so
)

const (
	// DefaultMaxBytes is how much text of a run is stored at most.
	DefaultMaxBytes = 1 << 30
	// DefaultSpoolMaxBytes bounds the spool file of a run.
	DefaultSpoolMaxBytes = 256 << 20
)

// stashEvery is how often what is not much goes to the spool: each time makes a message that has to be sent one day.
const stashEvery = 200 * time.Millisecond

// errClosed is returned to who writes after the end.
var errClosed = errors.New("the log is closed")

// Config says where a run's output goes. JS and Subject are required.
type Config struct {
	JS            jetstream.JetStream // its connection has nats.ReconnectBufSize(-1)
	Subject       string
	Stream        string // found by the subject if empty
	SpoolPath     string // a file of this run alone; empty: no spool
	SpoolMaxBytes int64  // 0: 256 MiB
	Lines         lines.Config
	Overflow      string // OverflowBlock (the default) or OverflowDrop
	MaxBytes      int64  // of text stored at most, what is above is dropped; 0: 1 GiB; below 0: no limit
	Logger        *slog.Logger
	OnFenced      func(error) // called once, from a goroutine of its own, when the log was closed by somebody else
	OnTrouble     func(error) // called when the stream has taken nothing for long, and with nil when that is over
}

// withDefaults fills in what is not given.
func (cfg Config) withDefaults() Config {
	if cfg.SpoolMaxBytes == 0 {
		cfg.SpoolMaxBytes = DefaultSpoolMaxBytes
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	cfg.Lines.MaxBytes = max(cfg.MaxBytes, 0)
	if cfg.Lines.MaxMessage == 0 {
		cfg.Lines.MaxMessage = lines.DefaultMaxMessage
		if payload := cfg.JS.Conn().MaxPayload(); payload > 0 {
			cfg.Lines.MaxMessage = int(min(payload/2, lines.DefaultMaxMessage))
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// A Writer stores the output of one run. Write and Quiet are for one goroutine, the others for any. It has a goroutine
// of its own only while there is something to send.
type Writer struct {
	cfg    Config
	pub    publisher // the sender's while there is one, then Close's
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu          sync.Mutex
	moved       *sync.Cond // something of the following has changed
	cutter      *lines.Cutter
	spool       spool
	spoolBroken bool        // as was said
	number      uint64      // Runner-Seq of the last message made
	inflight    outgoing    // number 0: none
	spare       []byte      // memory for the next message
	scratch     []byte      // memory that goes through the spool
	sending     bool        // there is a sender
	slow        bool        // no ack has come for a second
	err         error       // why nothing is taken any more
	closed      bool        // Abandon is through
	hurry       *time.Timer // set by Unblock
	stashed     time.Time
}

// outgoing is a message on its way.
type outgoing struct {
	number  uint64
	head    lines.Head // where it stands in the log
	body    []byte
	spooled bool // it is the first in the spool
	missing bool // the body says what is not there
}

// header is that of the stored message. Where it stands is not known of one that an older runner has put into its spool.
func (m outgoing) header() nats.Header {
	h := nats.Header{subjects.HeaderSeq: {strconv.FormatUint(m.number, 10)}}
	if m.head.Pos > 0 {
		h[subjects.HeaderPos] = []string{strconv.FormatInt(m.head.Pos, 10)}
		h[subjects.HeaderBytes] = []string{formatBytes(m.head.Bytes)}
	}
	return h
}

// Open returns a Writer for the output of a new run. It does nothing yet.
func Open(cfg Config) *Writer {
	cfg = cfg.withDefaults()
	w := &Writer{
		cfg:    cfg,
		pub:    publisher{js: cfg.JS, subject: cfg.Subject, stream: cfg.Stream, logger: cfg.Logger, trouble: cfg.OnTrouble},
		cutter: lines.NewCutter(cfg.Lines),
		spool:  spool{path: cfg.SpoolPath, maxBytes: cfg.SpoolMaxBytes},
	}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	w.moved = sync.NewCond(&w.mu)
	return w
}

// Write takes what one read of one pipe returned. It returns when that is encoded, which is as soon as there is room: the
// process waits when output comes faster than the stream takes it, and when stream and spool are no more. p is not kept.
// An error says that the output goes nowhere.
func (w *Writer) Write(s lines.Stream, p []byte) error {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.err != nil {
			return w.err
		}
		p = p[w.cutter.Write(s, p, now):]
		w.wake()
		room := false
		if w.slow && (len(p) > 0 || now.Sub(w.stashed) >= stashEvery) {
			room = w.stash()
			if !room && w.cfg.Overflow == OverflowDrop {
				w.cutter.Drop(true)
				room = true
			}
		}
		if len(p) == 0 {
			return nil
		}
		if !room {
			w.moved.Wait()
		}
	}
}

// SetStep names the step of the run that prints what is written from now on; empty is the run itself.
func (w *Writer) SetStep(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutter.SetStep(name)
}

// Unblock makes Write wait no longer than a second from now on: output that then finds no room is dropped and counted, and a
// GAP record says so where the log goes on. It is for a run that is being ended, whose last output must not hold up its end:
// call it when the run's process is told to end, from any goroutine, as often as you like. Write, and with it whoever
// reads the process's pipes, then comes back even where the server is gone and the spool is full. Close still waits for
// the server; it is its context, or Abandon, that ends that.
func (w *Writer) Unblock() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hurry != nil || w.err != nil {
		return
	}
	w.cfg.Overflow = OverflowDrop
	stuck := w.inflight.number
	w.hurry = time.AfterFunc(slowAfter, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil && w.sending && w.inflight.number == stuck {
			w.slow = true
			w.stash()
		}
		w.moved.Broadcast()
	})
	w.moved.Broadcast()
}

// openFor is how long a line may stay unfinished before it is sent as it is.
const openFor = 200 * time.Millisecond

// Quiet is to be called 200 ms after something was read, and says whether it is to be called again soon: it sends lines
// that stay unfinished, so that people see a prompt. Idle means that nothing was read since.
func (w *Writer) Quiet(idle bool) (again bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false
	}
	since := time.Now()
	if !idle {
		since = since.Add(-openFor)
	}
	w.cutter.FlushOpen(since)
	w.wake()
	if w.slow {
		w.stash()
	}
	if idle && !w.sending { // a flood is over
		w.spare = nil
		w.cutter.Release()
	}
	return !idle && w.cutter.HasOpen()
}

// Close stores the rest and the EOF record, in this order, and returns when they are stored: then the log is complete. Where
// ctx ends first, or the log was closed by somebody else, it returns an error; what is not stored is in the spool then, for
// Resume.
func (w *Writer) Close(ctx context.Context, end lines.End) (lines.Totals, error) {
	w.mu.Lock()
	now := time.Now()
	if w.err == nil {
		w.cutter.Finish(now)
		w.wake()
		if w.slow {
			w.stash()
		}
	}
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moved.Broadcast()
	})
	for w.sending && ctx.Err() == nil {
		w.moved.Wait()
	}
	stop()
	totals, err := w.cutter.Totals(), w.err
	body := w.cutter.End(end, now)
	last := outgoing{number: w.number + 1, head: w.cutter.Head(), body: body}
	w.mu.Unlock()

	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = w.pub.publish(ctx, last, func() {})
	}
	if err != nil {
		w.Abandon(err)
		return totals, fmt.Errorf("cannot complete the log: %w", err)
	}
	w.Abandon(errClosed)
	return totals, nil
}

// Abandon stops the Writer where it stands. What is not stored goes to the spool, for Resume, unless somebody else has closed
// the log. It is safe to call at any time, also after Close.
func (w *Writer) Abandon(cause error) {
	w.cancel(cause)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = cause
	}
	if w.hurry != nil {
		w.hurry.Stop()
	}
	w.moved.Broadcast()
	for w.sending {
		w.moved.Wait()
	}
	if w.closed {
		return
	}
	w.closed = true
	if errors.Is(w.err, ErrFenced) || errors.Is(cause, ErrFenced) {
		w.note(w.spool.remove())
		return
	}
	w.cutter.Finish(time.Now())
	if !w.stash() {
		w.tellMissing(time.Now())
	}
	w.note(w.spool.close())
}

// note logs an error that nothing can be done about.
func (w *Writer) note(err error) {
	if err != nil {
		w.cfg.Logger.Error(err.Error(), "subject", w.cfg.Subject)
	}
}
