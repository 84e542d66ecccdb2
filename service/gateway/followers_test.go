package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig/fleet"
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
	token    string
	lines    int // of the log
	cuts     int // times that it is cut
	each     int // bytes that it gets between two cuts, at most

	next int // the number of the next line
	last string
	ends int
}

// read reads all of a log and says what was wrong.
func (r *reader) read(total *atomic.Int64) error {
	r.next = 1
	for {
		over, cut, err := r.once()
		if err != nil || over {
			return err
		}
		if cut {
			total.Add(1)
		}
		time.Sleep(time.Duration(rand.IntN(size(50, 1000))) * time.Millisecond) // browsers wait for seconds
	}
}

// once reads until it is cut or the log has ended.
func (r *reader) once() (over, cut bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	url := r.gateways[rand.IntN(len(r.gateways))] + r.path
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	req.Header.Set("Authorization", r.token)
	if r.last != "" {
		req.Header.Set("Last-Event-ID", r.last)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return false, false, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNoContent {
		if r.next != r.lines+1 || r.ends != 1 {
			return true, false, fmt.Errorf("%s: over at line %d of %d, %d ends", r.path, r.next, r.lines, r.ends)
		}
		return true, false, nil
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return false, false, fmt.Errorf("%s: %s %s", r.path, res.Status, text)
	}
	body := io.Reader(res.Body)
	if cut = r.cuts > 0; cut {
		r.cuts--
		body = io.LimitReader(body, rand.Int64N(int64(r.each)))
	}
	return false, cut, r.events(body)
}

// events takes events, up to one that does not come whole.
func (r *reader) events(body io.Reader) error {
	in := bufio.NewReaderSize(body, 4<<10)
	id, kind, data := r.last, "", ""
	for {
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
			data = value
		case "":
			if value != "" { // a comment
				continue
			}
			if data != "" {
				if err := r.take(kind, data); err != nil {
					return fmt.Errorf("%s after %s: %w", r.path, r.last, err)
				}
			}
			r.last, kind, data = id, "", ""
		}
	}
}

func (r *reader) take(kind, data string) error {
	switch kind {
	case "end":
		r.ends++
		return nil
	case "", "log":
	default:
		return fmt.Errorf("event %s: %s", kind, data)
	}
	const mark = `{"pos":`
	for at := strings.Index(data, mark); at >= 0; at = strings.Index(data, mark) {
		data = data[at+len(mark):]
		digits, _, _ := strings.Cut(data, ",")
		if pos, err := strconv.Atoi(digits); err != nil || pos != r.next {
			return fmt.Errorf("line %s, want %d", digits, r.next)
		}
		r.next++
	}
	return nil
}

// Followers of one flood, and of quiet runs, cut at random and resumed at any of
// two gateways, have every line once.
func TestFollowersAreCut(t *testing.T) {
	followers, quiet, cuts := size(6, 200), size(4, 200), size(10, 26)
	rounds, lines := size(40, 100), size(5, 20)
	w := open(t)
	fleet.Runner(t, w.fleet.Conn(), service.Config{Name: "r2", Settings: service.Settings{Slots: followers + quiet}})
	gateways := []string{w.url, w.gateway()}
	flood := w.run(fmt.Sprintf(`{"command":"for i in $(seq %d); do seq 50; sleep 0.%d; done","target":{"on":"r2"}}`, rounds, size(1, 2)))
	var readers []*reader
	add := func(i, lines, width int, run string) {
		r := &reader{w: w, gateways: gateways, token: "Bearer " + token(t, auth.ScopeRead), lines: lines, cuts: cuts}
		r.path = "/api/v1/runs/" + run + "/events"
		if i%2 == 1 {
			r.path = "/api/v1/events?topics=log:" + run
		}
		r.each = max(lines*width/cuts, 2)
		readers = append(readers, r)
	}
	const width = 50 // of a line's record, at least
	for i := range followers {
		add(i, 50*rounds, width, flood)
	}
	for i := range quiet {
		add(i, lines, width, w.run(fmt.Sprintf(`{"command":"for i in $(seq %d); do echo $i; sleep %s; done","target":{"on":"r2"}}`, lines, []string{"0.1", "1"}[size(0, 1)])))
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
