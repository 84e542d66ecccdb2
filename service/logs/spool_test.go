package logs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/lines"
	"pgregory.net/rapid"
)

// Whatever is put in comes out, in order, however reading and writing take turns; and a file that was cut anywhere gives
// the messages before the cut.
func TestSpoolKeepsOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := &spool{path: filepath.Join(dir, "spool"), maxBytes: 4000}
		defer s.remove()
		var waiting [][]byte
		number, first := uint64(0), uint64(1)
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "write") {
				body := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "body")
				err := s.append(outgoing{number: number + 1, head: lines.Head{Pos: int64(number), Bytes: [2]int64{1, 2}}, body: body})
				if errors.Is(err, errSpoolFull) && s.written+frameHead+int64(len(body)) > s.maxBytes {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				number++
				waiting = append(waiting, body)
				continue
			}
			if s.empty() != (len(waiting) == 0) {
				t.Fatalf("empty is %v with %d messages", s.empty(), len(waiting))
			}
			if s.empty() {
				continue
			}
			m, err := s.next(nil)
			if err != nil || m.number != first || m.head.Pos != int64(first)-1 || m.head.Bytes != [2]int64{1, 2} || !bytes.Equal(m.body, waiting[0]) {
				t.Fatalf("message %+v (%v), want %d", m, err, first)
			}
			if err := s.skip(); err != nil {
				t.Fatal(err)
			}
			waiting = waiting[1:]
			first++
		}
		if s.empty() {
			return
		}
		cut := rapid.Int64Range(0, s.written).Draw(t, "cut")
		if err := os.Truncate(s.path, cut); err != nil {
			t.Fatal(err)
		}
		left, err := openSpool(s.path)
		if err != nil {
			t.Fatal(err)
		}
		defer left.file.Close()
		for last := uint64(0); ; {
			m, err := left.next(nil)
			n, body := m.number, m.body
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || last != 0 && n != last+1 || n >= first && !bytes.Equal(body, waiting[n-first]) {
				t.Fatalf("message %d after %d: %v", n, last, err)
			}
			last = n
			left.read += left.frame
		}
	})
}

// A disk that forgets is not covered up.
func TestDamagedSpoolIsToldOf(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, "a\n")
	h.settled(w)
	h.stop()
	write(t, w, strings.Repeat(strings.Repeat("y", 99)+"\n", 30_000))
	file, err := os.OpenFile(filepath.Join(h.dir, "spool"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("zz"), 1<<20); err != nil {
		t.Fatal(err)
	}
	file.Close()
	h.start()
	h.close(w)
	o := follow(t, h.ctx(), h.js, h.options())
	if r := o.result; r.Missing == 0 || r.Complete || r.Verified || r.End == nil || r.Problem == nil {
		t.Errorf("result %+v, want some missing", r)
	}
	h.noSpool()
}
