package glance

import (
	"math"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
)

func TestProcStat(t *testing.T) {
	for name, want := range map[string]string{"bash": "bash", "a) b (c": "a) b (c", "": "", "(": "(", ") R 1 (": ") R 1 (", "new\nline": "new\nline", "S 1 2": "S 1 2"} {
		line := "4242 (" + name + ") S 1 4242 4242 0 -1 4194304 100 0 0 0 150 25 0 0 20 0 7 0 12345 1000000 321 18446744073709551615 1 1\n"
		s, ok := parseProcStat([]byte(line))
		if !ok || s.pid != 4242 || s.name != want || s.seconds != 1.75 || s.threads != 7 || s.memory != 321 {
			t.Errorf("%q: got %+v, %v", name, s, ok)
		}
	}
	for _, line := range []string{"", "1", "1 (x", "1 (x)", "1 x S", "x (y) S 1", "1 (x) S 1 2 3", ") (", "1(x) S"} {
		if s, ok := parseProcStat([]byte(line)); ok {
			t.Errorf("%q: got %+v", line, s)
		}
	}
}

func FuzzProcStat(f *testing.F) {
	f.Add([]byte("1 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 1 1 1 1\n"))
	f.Add([]byte("1 (\xff) S 99999999999999999999999999 1 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseProcStat(b)
		if ok && (s.pid < 0 || s.memory < 0 || s.threads < 0 || math.IsNaN(s.seconds)) {
			t.Errorf("%q: got %+v", b, s)
		}
	})
}

func FuzzPlace(f *testing.F) {
	f.Add("")
	f.Add(place{byCPU, 5, 7, 9}.next())
	f.Fuzz(func(t *testing.T, next string) {
		if p, err := placeAfter(next); err == nil && p.next() != next {
			t.Errorf("%q: got %+v, which is %q", next, p, p.next())
		}
	})
}

// The sizes that pages are cut by are those of the JSON form.
func TestSizesAreThoseOfJSON(t *testing.T) {
	for _, s := range []string{"", "plain", "é€", "q\"\\", "\x00\x1f\t\n\r", "\u2028\u2029", "<&>", "\x7f", strings.Repeat("\u2028", 50)} {
		e := &pb.Entry{Name: s, User: s, Group: s, Mode: "drwxr-xr-x", Size: 1234567, Time: "2006-01-02 15:04:05"}
		th := &pb.Thread{Name: s, Cmdline: s, Memory: 1 << 40, Time: 12345.67, Pid: 99}
		p := &pb.Process{Process: th, Threads: []*pb.Thread{th, th}}
		for what, row := range map[string]struct {
			size int
			json func() ([]byte, error)
		}{
			"entry":   {entrySize(e), func() ([]byte, error) { return pb.MarshalJSON(e) }},
			"process": {processSize(p), func() ([]byte, error) { return pb.MarshalJSON(p) }},
		} {
			b, err := row.json()
			if err != nil {
				t.Fatal(err)
			}
			// A comma follows; beyond that only odd text may be overestimated.
			if n := len(b) + 1; row.size < n || row.size > n+8+30*len(s) {
				t.Errorf("%s with %q: got %d, want %d", what, s, row.size, n)
			}
		}
	}
}

func TestCPUsInWords(t *testing.T) {
	if got := cpusInWords(1500) + cpusInWords(16000); got != "1.5 CPU16 CPU" {
		t.Errorf("got %s", got)
	}
}
