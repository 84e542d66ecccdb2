package logs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// tenTimesTen writes ten messages of ten lines and the end.
func tenTimesTen(h *host) string {
	w := Open(h.config(h.js))
	for i := range 10 {
		write(h.t, w, numbered(10*i, 10*i+10))
		h.settled(w)
	}
	h.close(w)
	return numbered(0, 100)
}

func (h *host) settled(w *Writer) {
	rig.Eventually(h.t, "it is stored", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.sending })
}

func TestFollowFromTheMiddle(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tenTimesTen(h)
	for _, live := range []bool{false, true} {
		for _, from := range []int64{0, 1, 2, 10, 11, 55, 99, 100, 101, 102, 1000} {
			options := h.options()
			options.Live, options.FromPos = live, from
			o := follow(t, h.ctx(), h.js, options)
			want := numbered(int(max(min(from, 101), 1))-1, 100)
			if got := o.text[0].String(); got != want {
				t.Errorf("from line %d: %s", from, difference(got, want))
			}
			if r := o.result; !r.Complete || r.Verified != (from <= 1) || r.Truncated || r.Problem != nil || r.End == nil {
				t.Errorf("from line %d: result %+v", from, r)
			}
		}
	}
	h.noConsumers()
}

func TestFollowFromATime(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, "a\n")
	h.settled(w)
	time.Sleep(2 * time.Millisecond)
	middle := time.Now()
	write(t, w, "b\n")
	h.settled(w)
	write(t, w, "c\n")
	h.close(w)
	for want, since := range map[string]time.Time{
		"a\nb\nc\n": middle.Add(-time.Hour), "b\nc\n": middle, "": time.Now().Add(time.Hour),
	} {
		options := h.options()
		options.Since = since
		o := follow(t, h.ctx(), h.js, options)
		if got := o.text[0].String(); got != want || o.result.End == nil {
			t.Errorf("since %s: %q, want %q; %+v", since, got, want, o.result)
		}
	}
}

// While a run goes on, reading what is past ends with what there is, and following starts in the middle.
func TestFollowWhileItRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, "a\nb\n")
	h.settled(w)
	o := follow(t, h.ctx(), h.js, h.options())
	if got := o.text[0].String(); got != "a\nb\n" || o.result.End != nil || o.result.Complete || o.result.Problem != nil {
		t.Errorf("%q, %+v; want what there is, and no end", got, o.result)
	}
	options := h.options()
	options.Live = true
	fromStart := inBackground(t, h.ctx(), h.js, options)
	options.FromPos = 2
	fromTwo := inBackground(t, h.ctx(), h.js, options)
	write(t, w, "c\n")
	h.settled(w)
	write(t, w, "d\n")
	h.close(w)
	fromStart().whole(t, "a\nb\nc\nd\n")
	if got := fromTwo().text[0].String(); got != "b\nc\nd\n" {
		t.Errorf("from line 2: %q", got)
	}
	h.noConsumers()
}

// Followers that come before the first line, two at once, and one whose subscription misses some.
func TestFollowFreshRun(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	options := h.options()
	options.Live = true
	var waits []func() *output
	for range 2 {
		sub, err := Listen(h.nc, space.LogAny(runID))
		if err != nil {
			t.Fatal(err)
		}
		options.Fresh = sub
		waits = append(waits, inBackground(t, h.ctx(), h.js, options))
	}
	w := Open(h.config(h.js))
	write(t, w, numbered(0, 10))
	h.settled(w)
	late, err := Listen(h.nc, space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	options.Fresh = late
	waits = append(waits, inBackground(t, h.ctx(), h.js, options))
	for i := 1; i < 10; i++ {
		write(t, w, numbered(10*i, 10*i+10))
		h.settled(w)
	}
	h.close(w)
	for _, wait := range waits {
		wait().whole(t, numbered(0, 100))
	}
	h.noConsumers()
}

// A subscription that was opened for a run that is over already.
func TestFollowFreshSubscriptionOfAPastRun(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	want := tenTimesTen(h)
	sub, err := Listen(h.nc, space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	options := h.options()
	options.Live, options.Fresh = true, sub
	follow(t, h.ctx(), h.js, options).whole(t, want)
}

// What is published again, or never stored, is shown once.
func TestFollowSeesMessagesTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	sub, err := Listen(h.nc, space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	options := h.options()
	options.Live, options.Fresh = true, sub
	wait := inBackground(t, h.ctx(), h.js, options)
	cutter := lines.NewCutter(lines.Config{})
	publish := func(n int, body []byte) {
		msg := &nats.Msg{Subject: options.Subject, Data: body, Header: nats.Header{subjects.HeaderSeq: {strconv.Itoa(n)}}}
		if err := h.nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		cutter.Write(lines.Stdout, []byte(numbered(i, i+1)), time.Now())
		body, _ := cutter.Next(nil)
		publish(i+1, body)
		publish(i+1, body)
	}
	publish(6, cutter.End(done, time.Now()))
	wait().whole(t, numbered(0, 5))
}

// The runner died after a message that was never stored was seen: the log ends without it, and the follower says so.
func TestFollowSawWhatIsNotStored(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"live", "on the stream only"} {
		t.Run(when, func(t *testing.T) {
			h := newHost(t)
			w := Open(h.config(h.js))
			sub, err := Listen(h.nc, space.LogAny(runID))
			if err != nil {
				t.Fatal(err)
			}
			options := h.options()
			options.Live, options.Fresh = true, sub
			wait := inBackground(t, h.ctx(), h.js, options)
			write(t, w, "a\n")
			h.settled(w)
			w.Abandon(errors.New("crash"))
			ghost := &nats.Msg{Subject: options.Subject, Data: []byte(`{"pos":2,"time":"1","message":"ghost"}` + "\n"), Header: nats.Header{
				subjects.HeaderSeq: {"2"}, subjects.HeaderExpectedLastSubjectSeq: {"99"}}}
			if err := h.nc.PublishMsg(ghost); err != nil {
				t.Fatal(err)
			}
			if when != "live" {
				// Another hole sends the follower to the stream before the log is closed.
				ghost.Header.Set(subjects.HeaderSeq, "9")
				if err := h.nc.PublishMsg(ghost); err != nil {
					t.Fatal(err)
				}
				stream, err := h.js.Stream(h.ctx(), space.LogStream())
				if err != nil {
					t.Fatal(err)
				}
				rig.Eventually(t, "there is a consumer", func() bool {
					info, err := stream.Info(h.ctx())
					return err == nil && info.State.Consumers == 1
				})
			}
			if _, err := Resume(h.ctx(), h.config(h.js), lines.End{State: "FAILED", Reason: "lost"}); err != nil {
				t.Fatal(err)
			}
			o := wait()
			if r := o.result; r.End == nil || r.End.Reason != "lost" || r.Complete || r.Verified || r.Problem == nil {
				t.Errorf("result %+v, want the end, not verified", r)
			}
			if got := o.text[0].String(); got != "a\nghost\n" {
				t.Errorf("got %q", got)
			}
			follow(t, h.ctx(), h.js, h.options()).whole(t, "a\n")
			h.noConsumers()
		})
	}
}

// A run that is marked lost has no EOF record; the follower ends all the same.
func TestFollowEndsWithTheRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	sub, err := Listen(h.nc, space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	options := h.options()
	options.Live = true
	options.Final = func(context.Context) (bool, error) { return true, nil }
	past := options
	options.Fresh = sub
	wait := inBackground(t, h.ctx(), h.js, options)
	write(t, w, "a\n")
	h.settled(w)
	w.Abandon(errors.New("crash"))
	for _, o := range []*output{wait(), follow(t, h.ctx(), h.js, past)} {
		if r := o.result; r.End != nil || r.Complete || r.Verified || !errors.Is(r.Problem, errNoEnd) || o.text[0].String() != "a\n" {
			t.Errorf("%q, result %+v; want the text and no end", o.text[0].String(), r)
		}
	}
	options.Fresh = nil
	options.Subject = space.Log("web1", "unknown")
	if o := follow(t, h.ctx(), h.js, options); !o.result.Truncated || o.result.End != nil {
		t.Errorf("a log that is gone: %+v, want truncated", o.result)
	}
	h.noConsumers()
}

func TestFollowTruncated(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tenTimesTen(h)
	stream, err := h.js.Stream(h.ctx(), space.LogStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(h.ctx(), jetstream.WithPurgeKeep(6)); err != nil { // five messages of lines, and the end
		t.Fatal(err)
	}
	o := follow(t, h.ctx(), h.js, h.options())
	if r := o.result; !r.Truncated || r.Complete || r.Verified || r.End == nil || r.Problem == nil {
		t.Errorf("result %+v, want truncated", r)
	}
	if got, want := o.text[0].String(), numbered(50, 100); got != want {
		t.Error(difference(got, want))
	}
	options := h.options()
	options.FromPos = 20
	if r := follow(t, h.ctx(), h.js, options).result; !r.Truncated {
		t.Errorf("from line 20: %+v, want truncated", r)
	}
	options.FromPos = 51
	if r := follow(t, h.ctx(), h.js, options).result; r.Truncated || !r.Complete {
		t.Errorf("from line 51: %+v, want complete", r)
	}
}

func TestFollowMissing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tenTimesTen(h)
	stream, err := h.js.Stream(h.ctx(), space.LogStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(h.ctx(), 5); err != nil {
		t.Fatal(err)
	}
	o := follow(t, h.ctx(), h.js, h.options())
	if r := o.result; r.Missing != 1 || r.Complete || r.Verified || r.End == nil || r.Problem == nil {
		t.Errorf("result %+v, want one missing", r)
	}
	if got, want := o.text[0].String(), numbered(0, 40)+numbered(50, 100); got != want {
		t.Error(difference(got, want))
	}
}

// What a run wrote long ago may be removed while it still runs; that doesn't stop it.
func TestWriterOutlivesItsOwnHead(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, "a\n")
	h.settled(w)
	stream, err := h.js.Stream(h.ctx(), space.LogStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(h.ctx()); err != nil {
		t.Fatal(err)
	}
	write(t, w, "b\n")
	h.close(w)
	o := follow(t, h.ctx(), h.js, h.options())
	if got := o.text[0].String(); got != "b\n" || !o.result.Truncated || o.result.End == nil {
		t.Errorf("%q, %+v; want b, truncated", got, o.result)
	}
}

func TestFollowReturnsTheCallersError(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tenTimesTen(h)
	mine := errors.New("mine")
	if _, err := Follow(h.ctx(), h.js, h.options(), func(lines.Record) error { return mine }); err != mine {
		t.Errorf("Follow: %v, want mine", err)
	}
	ctx, cancel := context.WithCancel(h.ctx())
	cancel()
	if _, err := Follow(ctx, h.js, h.options(), func(lines.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow: %v, want %v", err, context.Canceled)
	}
	h.noConsumers()
}

// Whoever goes away while a consumer is being made leaves none.
func TestFollowCutOffWhileItBegins(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tenTimesTen(h)
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
		_, _ = Follow(ctx, h.js, h.options(), nil)
		cancel()
	}
	h.noConsumers()
}

func TestFollowWithoutStream(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	options := FollowOptions{Stream: "NONE", Subject: "none.x"}
	if _, err := Follow(h.ctx(), h.js, options, nil); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("Follow: %v, want %v", err, jetstream.ErrStreamNotFound)
	}
}

// Runs of many hosts lie between each other in the stream; a search goes past them.
func TestFollowFromTheMiddleOfManyRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	writers := make([]*Writer, 10)
	for i := range writers {
		cfg := h.config(h.js)
		cfg.SpoolPath, cfg.Subject = "", space.Log("web1", fmt.Sprint("many", i))
		writers[i] = Open(cfg)
	}
	for n := range 30 {
		for _, w := range writers {
			write(t, w, numbered(n, n+1))
			h.settled(w)
		}
	}
	for i, w := range writers {
		h.close(w)
		options := h.options()
		options.Subject, options.FromPos = space.LogAny(fmt.Sprint("many", i)), int64(2*i+1)
		o := follow(t, h.ctx(), h.js, options)
		if got, want := o.text[0].String(), numbered(2*i, 30); got != want || !o.result.Complete || o.first != int64(2*i+1) {
			t.Errorf("run %d: %s; %+v", i, difference(got, want), o.result)
		}
	}
}

func TestEnsureStreamTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	finished := make(chan error)
	for range 4 {
		go func() { finished <- EnsureStream(h.ctx(), h.js, space, StreamConfig{MaxBytes: 1 << 30}) }()
	}
	for range 4 {
		if err := <-finished; err != nil {
			t.Error(err)
		}
	}
	if err := EnsureStream(h.ctx(), h.js, space, StreamConfig{}); err != nil {
		t.Error(err)
	}
	stream, err := h.js.Stream(h.ctx(), space.LogStream())
	if err != nil {
		t.Fatal(err)
	}
	if cfg := stream.CachedInfo().Config; cfg.MaxBytes != 1<<30 || cfg.MaxAge != DefaultMaxAge || strings.Join(cfg.Subjects, " ") != "runner.log.>" {
		t.Errorf("stream %+v", cfg)
	}
}
