package record

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

func TestPlaces(t *testing.T) {
	places := []Place{{Time: 2, ID: "a"}, {Time: 1, ID: "b"}, {Time: 1, ID: "a"}, {Time: -1, ID: "z"}}
	slices.SortFunc(places, Place.Compare)
	if want := []Place{{-1, "z"}, {1, "a"}, {1, "b"}, {2, "a"}}; !slices.Equal(places, want) {
		t.Errorf("got %v, want %v", places, want)
	}
	check := func(a, b int64, x, y string) bool {
		p, q := Place{a, x}, Place{b, y}
		return p.Compare(q) == -q.Compare(p) && (p.Compare(q) == 0) == (p == q)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// What was stored before some moment stands behind it in every list, whatever its
// runner's clock said.
func TestPlaceInTime(t *testing.T) {
	stored := time.Unix(1000, 0)
	for created, want := range map[int64]time.Time{0: stored, time.Unix(999, 0).UnixNano(): time.Unix(999, 0), time.Unix(2000, 0).UnixNano(): stored, stored.UnixNano(): stored} {
		if got := PlaceTime(created, kv.Entry{Stored: stored}); got != want.UnixNano() {
			t.Errorf("created at %d: got %d, want %d", created, got, want.UnixNano())
		}
	}
}

func TestTraits(t *testing.T) {
	run := &pb.Run{Runner: "web1", Group: "g", Tags: map[string]string{"a": "1", "empty": ""}}
	for name, c := range map[string]struct {
		traits Traits
		fits   bool
		none   bool
	}{
		"none":                  {Traits{}, true, true},
		"an empty map":          {Traits{Tags: map[string]string{}}, true, true},
		"its runner":            {Traits{Runner: "web1"}, true, false},
		"another runner":        {Traits{Runner: "web"}, false, false},
		"its group":             {Traits{Group: "g"}, true, false},
		"another group":         {Traits{Group: "web1"}, false, false},
		"a tag":                 {Traits{Tags: map[string]string{"a": "1"}}, true, false},
		"a tag's other value":   {Traits{Tags: map[string]string{"a": ""}}, false, false},
		"an empty tag":          {Traits{Tags: map[string]string{"empty": ""}}, true, false},
		"a tag that isn't":      {Traits{Tags: map[string]string{"no": ""}}, false, false},
		"all and one that fits": {Traits{Runner: "web1", Group: "g", Tags: map[string]string{"a": "1"}}, true, false},
		"all but the runner":    {Traits{Runner: "x", Group: "g", Tags: map[string]string{"a": "1"}}, false, false},
	} {
		if got := c.traits.Fit(run); got != c.fits {
			t.Errorf("%s: fits is %t", name, got)
		}
		if got := c.traits.None(); got != c.none {
			t.Errorf("%s: none is %t", name, got)
		}
		body, err := pb.MarshalJSON(&pb.Run{Id: "r", State: pb.State_RUNNING, Runner: "web1", Group: "g", Tags: run.Tags})
		if err != nil {
			t.Fatal(err)
		}
		p, err := peekFast(body, c.traits)
		if err != nil || p.Fits != c.fits {
			t.Errorf("%s: skimmed as %t, %v", name, p.Fits, err)
		}
	}
}

// A record without a field that is asked for does not fit.
func TestFieldsThatAreNotThere(t *testing.T) {
	for name, want := range map[string]Traits{"a runner": {Runner: "web1"}, "a group": {Group: "g"}, "tags": {Tags: map[string]string{"a": "1"}}} {
		p, err := Peek([]byte(`{"id":"r","state":"RUNNING"}`), want)
		if err != nil || p.Fits || string(p.ID) != "r" || p.State != pb.State_RUNNING || p.Created != 0 {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

func TestFieldsOfAnObject(t *testing.T) {
	for text, want := range map[string][]string{
		`{}`:                                 nil,
		`{"a":1}`:                            {`a=1`},
		`{"a":1,"b":"x,y","c":null}`:         {`a=1`, `b="x,y"`, `c=null`},
		`{"a":{"b":[1,{"c":"}"}]},"d":true}`: {`a={"b":[1,{"c":"}"}]}`, `d=true`},
		`{"a\"b":"\\","c":"\\\""}`:           {`a\"b="\\"`, `c="\\\""`},
		`{"":""}`:                            {`=""`},
	} {
		var got []string
		err := eachField([]byte(text), func(key, value []byte) (bool, error) {
			got = append(got, string(key)+"="+string(value))
			return true, nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{``, `{`, `[]`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":"x`, `{"a":1;"b":2}`, `{a:1}`, `{"a":[1}`, `{"a" :1}`, `{"a":1,}`, `{"a":"x"y}`} {
		if err := eachField([]byte(text), func([]byte, []byte) (bool, error) { return true, nil }); !errors.Is(err, errOdd) {
			t.Errorf("%s: got %v, want %v", text, err, errOdd)
		}
	}
}

// Whoever has what he wants reads no further, and an error of his ends it.
func TestReadingStops(t *testing.T) {
	n := 0
	if err := eachField([]byte(`{"a":1,"b":2,rubbish`), func([]byte, []byte) (bool, error) { n++; return n < 2, nil }); err != nil || n != 2 {
		t.Errorf("got %v after %d", err, n)
	}
	sentinel := errors.New("enough")
	if err := eachField([]byte(`{"a":1}`), func([]byte, []byte) (bool, error) { return true, sentinel }); !errors.Is(err, sentinel) {
		t.Errorf("got %v, want %v", err, sentinel)
	}
}

func TestStringsOfRecords(t *testing.T) {
	for text, want := range map[string]string{`""`: "", `"a"`: "a", `"ä"`: "ä", `"a\"b"`: "!", `a`: "!", `"`: "!", `1`: "!", ``: "!"} {
		got, err := plainString([]byte(text))
		if want == "!" != (err != nil) || err == nil && string(got) != want {
			t.Errorf("plain %s: got %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"": "", "a": "a", `a\"b`: `a"b`, `\u00e4\n`: "ä\n", `\\`: `\`, `\x`: "!", `\`: "!"} {
		got, err := anyString([]byte(text))
		if want == "!" != (err != nil) || err == nil && string(got) != want {
			t.Errorf("any %s: got %q, %v", text, got, err)
		}
	}
}

// Values of the wrong kind are not guessed at: the record is decoded in full, which
// says what is wrong.
func TestRecordsOfTheWrongKind(t *testing.T) {
	for name, text := range map[string]string{
		"a number for an id":    `{"id":7}`,
		"no time":               `{"id":"r","created":"noon"}`,
		"no object":             `"r"`,
		"tags that are no text": `{"id":"r","tags":{"a":1}}`,
		"cut":                   `{"id":"r","state":"RUNNING"`,
	} {
		if p, err := Peek([]byte(text), Traits{Tags: map[string]string{"a": "1"}}); err == nil {
			t.Errorf("%s: got %+v", name, p)
		} else if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "cannot read Run: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDecodeRecords(t *testing.T) {
	run, err := Decode([]byte(`{"id":"r","later":{"x":1},"state":"FAILED"}`))
	if err != nil || run.GetId() != "r" || run.GetState() != pb.State_FAILED {
		t.Errorf("a later version's: got %v, %v", run, err)
	}
}

// A state that a later version has is none that this one knows.
func TestStatesOfLaterVersions(t *testing.T) {
	p, err := Peek([]byte(`{"id":"r","state":"SUSPENDED"}`), Traits{})
	if err != nil || p.State != 0 || string(p.ID) != "r" {
		t.Errorf("got %+v, %v", p, err)
	}
}
