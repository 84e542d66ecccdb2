package stream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
)

// Range as RFC 9110 has it: one range of bytes, of a text of 100; what is none is
// passed over.
func TestByteRange(t *testing.T) {
	for _, c := range []struct {
		header   string
		from, to int64
		ok       bool
	}{
		{"bytes=0-", 0, 100, true},
		{"bytes=0-0", 0, 1, true},
		{"bytes=10-19", 10, 20, true},
		{"Bytes = 10-19", 10, 20, true},
		{"bytes=90-500", 90, 100, true},
		{"bytes=99-", 99, 100, true},
		{"bytes=100-", 100, 100, true}, // nothing of it is there: 416
		{"bytes=-1", 99, 100, true},
		{"bytes=-500", 0, 100, true},
		{"bytes=-0", 100, 100, true},
		{"bytes=0-9223372036854775807", 0, 100, true},
		{"bytes=5-1", 0, 0, false},
		{"bytes=0-1,3-4", 0, 0, false},
		{"bytes=-", 0, 0, false},
		{"bytes=", 0, 0, false},
		{"bytes", 0, 0, false},
		{"lines=0-1", 0, 0, false},
		{"bytes=x-1", 0, 0, false},
		{"bytes=1-x", 0, 0, false},
		{"bytes=99999999999999999999-", 0, 0, false},
		{"bytes=--1", 0, 0, false},
	} {
		from, to, ok := byteRange(c.header, 100)
		if ok != c.ok || ok && (from != c.from || to != c.to) {
			t.Errorf("%s: %d to %d, %v; want %d to %d, %v", c.header, from, to, ok, c.from, c.to, c.ok)
		}
	}
}

// The inside of a JSON string is what any decoder reads back, with what is not
// UTF-8 replaced.
func TestJSONWriter(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"plain\n":               "plain\n",
		"\"\\\n\t\r\x00\x1f<&>": "\"\\\n\t\r\x00\x1f<&>",
		"größer 世界 🎉":           "größer 世界 🎉",
		"a\xffb\xc3":            "a\uFFFDb\uFFFD",
		"\u2028":                "\u2028",
	} {
		var out bytes.Buffer
		w := JSONWriter{bufio.NewWriter(&out)}
		if err := w.text([]byte(text)); err != nil {
			t.Fatal(err)
		}
		_ = w.Flush()
		var got string
		if err := json.Unmarshal([]byte(`"`+out.String()+`"`), &got); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// The last lines of a text, however it is cut into pieces.
func TestTailRing(t *testing.T) {
	const text = "one\ntwo\n\nfour\nopen"
	for most, want := range map[int]string{1: "open", 2: "four\nopen", 3: "\nfour\nopen", 4: "two\n\nfour\nopen", 5: text, 100: text} {
		for _, size := range []int{1, 3, len(text)} {
			var out bytes.Buffer
			ring, w := newTail(most), bufio.NewWriter(&out)
			for at := 0; at < len(text); at += size {
				if err := ring.text([]byte(text[at:min(at+size, len(text))])); err != nil {
					t.Fatal(err)
				}
			}
			if err := ring.flush(plainWriter{w}); err != nil {
				t.Fatal(err)
			}
			_ = w.Flush()
			if out.String() != want {
				t.Errorf("the last %d by %d: %q, want %q", most, size, out.String(), want)
			}
		}
	}
}

func TestTailOfARequest(t *testing.T) {
	for query, want := range map[string]int{"": 0, "?tail=1": 1, "?tail=500": 500, "?tail=0": -1, "?tail=-1": -1, "?tail=x": -1, "?tail=99999999999999999999": -1} {
		n, err := Tail(httptest.NewRequest("GET", "/"+query, nil))
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// A tag is another one whenever the text may be.
func TestTagsDiffer(t *testing.T) {
	one, two := &pb.Run{Id: "a"}, &pb.Run{Id: "b"}
	tips := func(stored, seq uint64) []logs.Tip { return []logs.Tip{{Stored: stored, Seq: seq}} }
	tags := map[string]string{}
	for name, tag := range map[string]string{
		"one":           Tag([]*pb.Run{one}, tips(5, 2), "x"),
		"two":           Tag([]*pb.Run{two}, tips(5, 2), "x"),
		"another form":  Tag([]*pb.Run{one}, tips(5, 2), "y"),
		"it has grown":  Tag([]*pb.Run{one}, tips(6, 3), "x"),
		"stored anew":   Tag([]*pb.Run{one}, tips(9, 2), "x"),
		"both of these": Tag([]*pb.Run{one, two}, append(tips(5, 2), tips(6, 1)...), "x"),
	} {
		if other, ok := tags[tag]; ok {
			t.Errorf("%s has the tag of %s", name, other)
		}
		tags[tag] = name
	}
	if Tag([]*pb.Run{one}, tips(5, 2), "x") != Tag([]*pb.Run{{Id: "a"}}, tips(5, 2), "x") {
		t.Error("the same text has two tags")
	}
}
