package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
)

// size is the small one, or with RUNNEL_LONG the whole one.
func size(small, whole int) int {
	if os.Getenv("RUNNEL_LONG") != "" {
		return whole
	}
	return small
}

// reader is a client that reads a log's events and is cut again and again.
type reader struct {
	w        *world
	gateways []string
	path     string
	lines    int // of the log
	cuts     int // it may have
	each     int // events between two cuts, at most
	slow     time.Duration

	next int // the number of the next line
	last string
	ends int
}

// read reads all of a log and says what was wrong.
func (r *reader) read(total *atomic.Int64) error {
	r.next = 1
	for {
		over, err := r.once()
		if err != nil || over {
			return err
		}
		total.Add(1)
		time.Sleep(time.Duration(rand.IntN(size(50, 1000))) * time.Millisecond) // browsers wait for seconds
	}
}

// once reads until it is cut or the log has ended.
func (r *reader) once() (over bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	url := r.gateways[rand.IntN(len(r.gateways))] + r.path
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	req.Header.Set("Authorization", "Bearer "+token(r.w.t, auth.ScopeRead))
	if r.last != "" {
		req.Header.Set("Last-Event-ID", r.last)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNoContent {
		if r.next != r.lines+1 || r.ends != 1 {
			return true, fmt.Errorf("%s: over at line %d of %d, %d ends", r.path, r.next, r.lines, r.ends)
		}
		return true, nil
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return false, fmt.Errorf("%s: %s %s", r.path, res.Status, text)
	}
	left := -1
	if r.cuts > 0 {
		r.cuts--
		left = rand.IntN(r.each)
	}
	return false, r.events(res.Body, left)
}

// events takes events until none is left of what it may take; below 0, all.
func (r *reader) events(body io.Reader, left int) error {
	in := bufio.NewReaderSize(body, 4<<10)
	id, kind := "", ""
	for left != 0 {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil // it ended, or was cut at the other side
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			if err := r.take(kind, value); err != nil {
				return fmt.Errorf("%s after %s: %w", r.path, r.last, err)
			}
			r.last, kind = id, ""
			left--
			time.Sleep(r.slow)
		}
	}
	return nil
}

func (r *reader) take(kind, data string) error {
	var got struct {
		Pos     int
		Records []struct{ Pos int }
	}
	if err := json.Unmarshal([]byte(data), &got); err != nil {
		return err
	}
	switch kind {
	case "end":
		r.ends++
		return nil
	case "":
		got.Records = append(got.Records, struct{ Pos int }{got.Pos})
	case "log":
	default:
		return fmt.Errorf("event %s: %s", kind, data)
	}
	for _, line := range got.Records {
		if line.Pos != r.next {
			return fmt.Errorf("line %d, want %d", line.Pos, r.next)
		}
		r.next++
	}
	return nil
}

// Followers of one flood, and of quiet runs, cut at random and resumed at any of
// two gateways, have every line once.
func TestFollowersAreCut(t *testing.T) {
	w := open(t)
	gateways := []string{w.url, w.gateway()}
	followers, quiet, cuts := size(6, 200), size(4, 50), size(10, 28)
	rounds := size(40, 100)
	flood := w.run(fmt.Sprintf(`{"command":"for i in $(seq %d); do seq 50; sleep 0.02; done"}`, rounds))
	var readers []*reader
	for i := range followers {
		r := &reader{w: w, gateways: gateways, path: "/api/v1/runs/" + flood + "/events", lines: 50 * rounds, cuts: cuts, each: 2 * 50 * rounds / cuts}
		if i%2 == 1 {
			r.path, r.each = "/api/v1/events?topics=log:"+flood, 12
		}
		readers = append(readers, r)
	}
	for i := range quiet {
		lines := size(5, 40)
		id := w.run(fmt.Sprintf(`{"command":"for i in $(seq %d); do echo $i; sleep 0.5; done"}`, lines))
		for n := range size(1, 4) {
			r := &reader{w: w, gateways: gateways, path: "/api/v1/runs/" + id + "/events", lines: lines, cuts: cuts, each: 3}
			if (i+n)%2 == 1 {
				r.path = "/api/v1/events?topics=log:" + id
			}
			readers = append(readers, r)
		}
	}
	var total atomic.Int64
	var wg sync.WaitGroup
	for _, r := range readers {
		wg.Go(func() {
			if err := r.read(&total); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d followers, %d times cut", len(readers), total.Load())
	if want := int64(size(50, 10000)); total.Load() < want {
		t.Errorf("cut %d times, want %d", total.Load(), want)
	}
}

// Followers of a flood share one reader, and slow ones hold nobody up: memory
// does not grow with their number.
func TestFollowersShare(t *testing.T) {
	w := open(t)
	followers, lines := size(20, 200), size(20000, 300000)
	id := w.run(fmt.Sprintf(`{"command":"sleep 1; seq -f 'a line of the flood that is as long as lines are: %%.0f' %d"}`, lines))
	before := heap()
	var total atomic.Int64
	var peak atomic.Uint64
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
				peak.Store(max(peak.Load(), heap()))
			}
		}
	})
	var readers sync.WaitGroup
	for i := range followers {
		r := &reader{w: w, gateways: []string{w.url}, path: "/api/v1/events?topics=log:" + id, lines: lines}
		if i%4 == 0 {
			r.slow = 5 * time.Millisecond
		}
		readers.Go(func() {
			if err := r.read(&total); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	close(done)
	wg.Wait()
	grown := int64(peak.Load()) - int64(before)
	t.Logf("%d followers of %d lines: the heap grew by %d KiB, NATS server, runner and clients included", followers, lines, grown>>10)
	if limit := int64(200 << 20); grown > limit {
		t.Errorf("the heap grew by %d bytes, want %d at most", grown, limit)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
