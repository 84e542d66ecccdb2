package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
)

// stored is a record as the bucket has it.
func stored(t *testing.T, run *pb.Run, at time.Time) kv.Entry {
	t.Helper()
	body, err := pb.MarshalJSON(run)
	if err != nil {
		t.Fatal(err)
	}
	return kv.Entry{Key: run.GetId(), Body: body, Stored: at}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestItemOfARecord(t *testing.T) {
	run := &pb.Run{
		Id: "r1", State: pb.State_COMPLETE, Runner: "web1", Group: "g1", Tags: map[string]string{"a": "1", "b": ""},
		Created: timestamppb.New(noon.Add(-time.Hour)),
	}
	it, ours := itemOf(stored(t, run, noon))
	if !ours || it.ID != "r1" || it.State != pb.State_COMPLETE || it.Time != noon.Add(-time.Hour).UnixNano() {
		t.Fatalf("got %+v, %t", it, ours)
	}
	want := []uint32{hashOf("tag", "a", "1"), hashOf("tag", "b", ""), hashOf("runner", "web1"), hashOf("state", "COMPLETE"), hashOf("group", "g1")}
	slices.Sort(want)
	slices.Sort(it.Hashes)
	if !slices.Equal(it.Hashes, want) {
		t.Errorf("got hashes %v, want %v", it.Hashes, want)
	}
}

// A record of a runner whose clock is ahead stands where it was stored.
func TestItemIsNeverLaterThanItsRecord(t *testing.T) {
	for name, c := range map[string]struct {
		created *timestamppb.Timestamp
		want    time.Time
	}{
		"before":     {timestamppb.New(noon.Add(-time.Second)), noon.Add(-time.Second)},
		"after":      {timestamppb.New(noon.Add(time.Hour)), noon},
		"no one has": {nil, noon},
	} {
		it, ours := itemOf(stored(t, &pb.Run{Id: "r", State: pb.State_RUNNING, Created: c.created}, noon))
		if !ours || it.Time != c.want.UnixNano() {
			t.Errorf("%s: got %s, %t, want %s", name, time.Unix(0, it.Time).UTC(), ours, c.want)
		}
	}
}

// What is no record of a run has no place in the index.
func TestItemsOfOthers(t *testing.T) {
	right := stored(t, &pb.Run{Id: "r1", State: pb.State_RUNNING}, noon)
	for name, e := range map[string]kv.Entry{
		"rubbish":             {Key: "r1", Body: []byte("rubbish"), Stored: noon},
		"under another key":   {Key: "r2", Body: right.Body, Stored: noon},
		"without an id":       {Key: "r1", Body: []byte(`{"state":"RUNNING"}`), Stored: noon},
		"with an id of dots":  stored(t, &pb.Run{Id: "a.b"}, noon),
		"with an id too long": stored(t, &pb.Run{Id: strings.Repeat("x", 200)}, noon),
	} {
		if it, ours := itemOf(e); ours {
			t.Errorf("%s: got %+v", name, it)
		}
	}
}

// Words keep their borders in a hash: a tag "ab" is not a tag "a" of value "b".
func TestHashesKeepWordsApart(t *testing.T) {
	seen := map[uint32]string{}
	for _, words := range [][]string{
		{"tag", "ab", ""}, {"tag", "a", "b"}, {"tag", "", "ab"}, {"tag", "a", "b", ""}, {"runner", "a"}, {"group", "a"}, {"state", "a"}, {"taga", "b"}, {"tag", "a"},
	} {
		h := hashOf(words...)
		if other, is := seen[h]; is {
			t.Errorf("%q has the hash of %s", words, other)
		}
		seen[h] = fmt.Sprintf("%q", words)
	}
}

// Whatever items there are, they come back from a block as they were.
func TestBlocksGiveBackTheirItems(t *testing.T) {
	check := func(times []int64, ids []uint16, hashes [][]uint32) bool {
		var items []Item
		for i := range min(len(times), len(ids)) {
			it := Item{Place: record.Place{Time: times[i], ID: fmt.Sprint("run-", ids[i])}, State: pb.State(ids[i] % 7)}
			if i < len(hashes) {
				it.Hashes = hashes[i][:min(len(hashes[i]), 40)]
			}
			items = append(items, it)
		}
		var back []Item
		err := EachItem(encodeItems(items), func(it Item) {
			it.Hashes = slices.Clone(it.Hashes)
			back = append(back, it)
		})
		return err == nil && slices.EqualFunc(items, back, func(a, b Item) bool {
			return a.Place == b.Place && a.State == b.State && slices.Equal(a.Hashes, b.Hashes)
		})
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// A block that was cut is known by its first item that is not whole.
func TestCutBlocksAreDamaged(t *testing.T) {
	whole := encodeItems([]Item{
		{Place: record.Place{Time: 1, ID: "first"}, State: pb.State_COMPLETE, Hashes: []uint32{1, 2}},
		{Place: record.Place{Time: 2, ID: "second"}, State: pb.State_FAILED, Hashes: []uint32{3}},
	})
	first := itemHead + len("first") + 8
	for n := range len(whole) {
		count := 0
		err := EachItem(whole[:n], func(Item) { count++ })
		switch {
		case n == 0 || n == first:
			if err != nil {
				t.Errorf("the first %d bytes: %v", n, err)
			}
		case !errors.Is(err, ErrDamaged):
			t.Errorf("the first %d bytes: got %v, want %v", n, err, ErrDamaged)
		}
		if want := map[bool]int{true: 1, false: 0}[n >= first]; count != want {
			t.Errorf("the first %d bytes: %d items, want %d", n, count, want)
		}
	}
}

// No bytes make a reader of blocks panic or read behind their end.
func FuzzEachItem(f *testing.F) {
	f.Add(encodeItems([]Item{{Place: record.Place{Time: 1, ID: "a"}, Hashes: []uint32{7}}}))
	f.Add([]byte{})
	f.Add(make([]byte, itemHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		var items []Item
		err := EachItem(b, func(it Item) {
			it.Hashes = slices.Clone(it.Hashes)
			items = append(items, it)
		})
		if err == nil && len(encodeItems(items)) != len(b) {
			t.Errorf("%d bytes were read as %d", len(b), len(encodeItems(items)))
		}
	})
}

func TestHashesOfABlock(t *testing.T) {
	b := encodeHashes([]Item{{Hashes: []uint32{9, 3}}, {Hashes: []uint32{3, 0xffffffff, 7}}, {}})
	var got []uint32
	for h := b; len(h) > 0; h = h[4:] {
		got = append(got, binary.LittleEndian.Uint32(h))
	}
	if want := []uint32{3, 7, 9, 0xffffffff}; !slices.Equal(got, want) {
		t.Errorf("got %v, want each once and in order: %v", got, want)
	}
	if len(encodeHashes(nil)) != 0 {
		t.Error("there are hashes of nothing")
	}
}

// A reader finds each hash that is there, and no other.
func TestHashesAreFound(t *testing.T) {
	check := func(hashes []uint32, others []uint32) bool {
		b := encodeHashes([]Item{{Hashes: hashes}})
		for _, h := range hashes {
			if !HasHash(b, h) {
				return false
			}
		}
		for _, h := range others {
			if HasHash(b, h) != slices.Contains(hashes, h) {
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	if HasHash(nil, 0) {
		t.Error("nothing has a hash")
	}
}

func TestNeeds(t *testing.T) {
	run := &pb.Run{Id: "r", State: pb.State_FAILED, Runner: "web1", Group: "g", Tags: map[string]string{"a": "1", "b": "2"}}
	it, _ := itemOf(stored(t, run, noon))
	has := func(h uint32) bool { return slices.Contains(it.Hashes, h) }
	for name, c := range map[string]struct {
		states []pb.State
		traits record.Traits
		want   bool
	}{
		"anything":          {nil, record.Traits{}, true},
		"its state":         {[]pb.State{pb.State_FAILED}, record.Traits{}, true},
		"one of its states": {[]pb.State{pb.State_RUNNING, pb.State_FAILED}, record.Traits{}, true},
		"another state":     {[]pb.State{pb.State_RUNNING, pb.State_COMPLETE}, record.Traits{}, false},
		"its runner":        {nil, record.Traits{Runner: "web1"}, true},
		"another runner":    {nil, record.Traits{Runner: "web2"}, false},
		"its group":         {nil, record.Traits{Group: "g"}, true},
		"another group":     {nil, record.Traits{Group: "web1"}, false},
		"a tag":             {nil, record.Traits{Tags: map[string]string{"a": "1"}}, true},
		"both tags":         {nil, record.Traits{Tags: map[string]string{"a": "1", "b": "2"}}, true},
		"a tag's value":     {nil, record.Traits{Tags: map[string]string{"a": "2"}}, false},
		"one tag of two":    {nil, record.Traits{Tags: map[string]string{"a": "1", "c": "3"}}, false},
		"all of it":         {[]pb.State{pb.State_FAILED}, record.Traits{Runner: "web1", Group: "g", Tags: map[string]string{"b": "2"}}, true},
		"all but the state": {[]pb.State{pb.State_RUNNING}, record.Traits{Runner: "web1", Group: "g", Tags: map[string]string{"b": "2"}}, false},
	} {
		if got := NeedsOf(c.states, c.traits).In(has); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

// The index leaves out no record that a query means: whatever fits by the record's
// own words fits by hashes.
func TestNeedsLeaveNothingOut(t *testing.T) {
	names := []string{"", "a", "b", "web1"}
	check := func(pick [8]uint8) bool {
		at := func(i int) string { return names[int(pick[i])%len(names)] }
		run := &pb.Run{Id: "r", State: pb.State(pick[6]%6 + 1), Runner: at(0), Group: at(1), Tags: map[string]string{at(2): at(3)}}
		traits := record.Traits{Runner: at(4), Group: at(5)}
		if pick[7]%2 == 0 {
			traits.Tags = map[string]string{at(2): at(6)}
		}
		body, err := pb.MarshalJSON(run)
		if err != nil {
			return false
		}
		it, ours := itemOf(kv.Entry{Key: "r", Body: body, Stored: noon})
		in := NeedsOf([]pb.State{run.State}, traits).In(func(h uint32) bool { return slices.Contains(it.Hashes, h) })
		return ours && (in || !traits.Fit(run))
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func TestDigestsKnowBlobsAgain(t *testing.T) {
	if got := digestOf([]byte("abc")); got != "ba7816bf8f01cfea" {
		t.Errorf("got %s: the digests of stored blocks would not be theirs", got)
	}
	if digestOf(nil) == digestOf([]byte{0}) {
		t.Error("two blobs have one digest")
	}
}
