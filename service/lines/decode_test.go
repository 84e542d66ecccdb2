package lines

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func decodeAll(body []byte) (records []Record, err error) {
	err = Decode(body, func(r Record) error {
		r.Text = append([]byte(nil), r.Text...)
		records = append(records, r)
		return nil
	})
	return records, err
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, body string
		want       []Record
	}{
		{"the old form", `{"pos":1,"time":"2","message":"a"}`, []Record{{Pos: 1, TimeNanos: 2, Text: []byte("a")}}},
		{"several", `{"pos":3,"time":"2","stream":"stderr","messages":["a","","b\n"]}` + "\n", []Record{
			{Pos: 3, TimeNanos: 2, Stream: Stderr, Text: []byte("a")}, {Pos: 4, TimeNanos: 2, Stream: Stderr},
			{Pos: 5, TimeNanos: 2, Stream: Stderr, Text: []byte("b\n")}}},
		{"several, in a way of its own", `{"pos":3,"time":"2","messages":["a","b" , "c"]}`, []Record{
			{Pos: 3, TimeNanos: 2, Text: []byte("a")}, {Pos: 4, TimeNanos: 2, Text: []byte("b")}, {Pos: 5, TimeNanos: 2, Text: []byte("c")}}},
		{"raw", `{"pos":1,"time":"2","tag":"BOL","message":"\ufffd","raw":"/w=="}`, []Record{{Pos: 1, TimeNanos: 2, Open: true, Text: []byte{0xff}}}},
		{"another order, and what a later version adds", `{ "message":"\u00e4\ud83d\ude00", "later":[1], "time":"2", "stream":"stdout", "pos":7 }`,
			[]Record{{Pos: 7, TimeNanos: 2, Text: []byte("ä😀")}}},
		{"gap", `{"pos":4,"time":"2","tag":"GAP","lines":3,"bytes":9}`, []Record{{Pos: 4, TimeNanos: 2, Gap: &Gap{3, 9}}}},
		{"end", `{"pos":4,"time":"2","tag":"EOF","state":"COMPLETE","reason":"exit","exitCode":3,"lines":3,"bytes":9,"sha256":"00","dropped":1,"droppedBytes":2}`,
			[]Record{{Pos: 4, TimeNanos: 2, End: &End{State: "COMPLETE", Reason: "exit", ExitCode: 3, Lines: 3, Bytes: 9, SHA256: "00", Dropped: Gap{1, 2}}}}},
		{"empty lines between", "\n\n" + `{"pos":1,"time":"2","message":"a"}` + "\n\n", []Record{{Pos: 1, TimeNanos: 2, Text: []byte("a")}}},
		{"nothing", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := decodeAll([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, body := range []string{
		"x", "{}", "null", "[]", `{"pos":0,"time":"2","message":"a"}`, `{"pos":1,"time":2,"message":"a"}`,
		`{"pos":1,"time":"2"}`, `{"pos":1,"time":"2","tag":"XXX","message":"a"}`, `{"pos":1,"time":"2","stream":"x","message":"a"}`,
		`{"pos":1,"time":"2","message":"a","messages":["b"]}`, `{"pos":1,"time":"2","tag":"BOL","messages":["b"]}`,
		`{"pos":1,"time":"2","message":"a"`, `{"pos":99999999999999999999,"time":"2","message":"a"}`, `{"pos":1,"time":"2","messages":["a","b"}`,
		`{"pos":1,"time":"2","tag":"GAP","lines":-1,"bytes":1}`, `{"pos":1,"time":"2","message":"a","raw":"!"}`,
	} {
		if got, err := decodeAll([]byte(body)); err == nil {
			t.Errorf("Decode(%s) = %+v, want an error", body, got)
		}
	}
}

func TestDecodeReturnsTheCallersError(t *testing.T) {
	mine := errors.New("mine")
	for _, body := range []string{`{"pos":1,"time":"2","messages":["a","b"]}`, `{"pos":1,"time":"2", "messages":["a","b"]}`} {
		n := 0
		err := Decode([]byte(body), func(Record) error { n++; return mine })
		if err != mine || n != 1 {
			t.Errorf("Decode(%s) = %v after %d records, want mine after 1", body, err, n)
		}
	}
}

func TestSumFindsWhatIsWrong(t *testing.T) {
	l := newLog(Config{})
	l.write(Stdout, "a\nb\n")
	l.FlushOpen(start)
	l.write(Stdout, "c")
	l.FlushOpen(start)
	l.write(Stderr, "d\n")
	l.write(Stdout, "c\n")
	all, err := decodeAll(append([]byte(l.finish()), l.End(End{}, start)...))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(records []Record) error {
		var s Sum
		for _, r := range records {
			s.Add(r)
		}
		return s.Verify(all[len(all)-1].End)
	}
	if err := verify(all); err != nil {
		t.Fatal(err)
	}
	for i := range len(all) - 1 {
		without := append(append([]Record(nil), all[:i]...), all[i+1:]...)
		if verify(without) == nil {
			t.Errorf("without record %d: no error", i)
		}
		twice := append(append([]Record(nil), all[:i+1]...), all[i:]...)
		if verify(twice) == nil {
			t.Errorf("record %d twice: no error", i)
		}
		changed := append([]Record(nil), all...)
		changed[i].Text = []byte("x")
		if verify(changed) == nil {
			t.Errorf("record %d changed: no error", i)
		}
		swapped := append([]Record(nil), all...)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if verify(swapped) == nil {
			t.Errorf("records %d and %d swapped: no error", i, i+1)
		}
	}
}

// Whatever Decode reads by hand, encoding/json reads alike.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"pos":1,"time":"1136214245000000000","message":"text\n\u0001"}`))
	f.Add([]byte(`{"pos":1,"time":"1","stream":"stderr","tag":"BOL","message":"ä","raw":"/w=="}`))
	f.Add([]byte(`{"pos":1,"time":"1","messages":["a","b\"","\\"]}`))
	f.Add([]byte(`{"pos":1,"time":"1","messages":["a","b" ,"c"]}`))
	f.Add([]byte(`{"pos":1,"time":"1","tag":"EOF","state":"COMPLETE","exitCode":0,"lines":1,"bytes":1,"sha256":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := decoder{}
		for _, c := range body {
			if c == '\n' {
				return
			}
		}
		var quick []Record
		d.each = func(r Record) error {
			r.Text = append([]byte(nil), r.Text...)
			quick = append(quick, r)
			return nil
		}
		whole, _ := d.quick(body)
		var w wire
		err := json.Unmarshal(body, &w)
		var full []Record
		if err == nil {
			full, err = w.records()
		}
		if whole && err != nil {
			t.Fatalf("quick reads %q, encoding/json says %v", body, err)
		}
		if err != nil {
			return
		}
		if whole && len(quick) != len(full) || len(quick) > len(full) {
			t.Fatalf("%q: quick gives %d records, encoding/json %d", body, len(quick), len(full))
		}
		for i, r := range quick {
			if !equal(r, full[i]) {
				t.Fatalf("%q: quick gives %+v, encoding/json %+v", body, r, full[i])
			}
		}
	})
}

// Whatever is written comes back.
func FuzzCutter(f *testing.F) {
	f.Add([]byte("a\nb\xff\xc3"), uint16(3), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, width uint16, read uint8) {
		l := newLog(Config{WidthRunes: int(width), MaxMessage: minMaxMessage})
		for p := text; len(p) > 0; {
			n := min(len(p), int(read)+1)
			l.write(Stdout, string(p[:n]))
			p = p[n:]
		}
		var k check
		k.read(t, []byte(l.finish()))
		k.read(t, l.End(End{}, start))
		if got := k.text[Stdout].String(); got != string(text) {
			t.Fatalf("got %q, want %q", got, text)
		}
		if err := k.sum.Verify(k.end); err != nil {
			t.Fatal(err)
		}
	})
}
