package tails

import (
	"fmt"
	"testing"
)

func TestPlaces(t *testing.T) {
	for text, want := range map[string]Place{"1.1": {1, 1}, "18446744073709551615.7": {1<<64 - 1, 7}} {
		if got, ok := PlaceOf(text); !ok || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "1", "1.", ".1", "0.1", "1.0", "-1.1", "1.-1", "1.1.1", "x.1", "18446744073709551616.1", " 1.1"} {
		if got, ok := PlaceOf(text); ok {
			t.Errorf("%q is a place: %v", text, got)
		}
	}
	if a, b, c := (Place{1, 9}), (Place{2, 1}), (Place{2, 2}); !a.Before(b) || !b.Before(c) || c.Before(b) || b.Before(b) || !(Place{}).Before(a) {
		t.Error("the order of places")
	}
}

// kept is a tail with so many records of a hundred bytes, ten in a message.
func kept(records, room int) *tail {
	l := &tail{}
	for i := range records {
		l.keep(Record{Place: Place{uint64(i/10 + 1), i%10 + 1}, Pos: int64(i + 1), Text: fmt.Appendf(nil, "%100d", i+1)}, room)
	}
	return l
}

// A follower gets everything behind his place in order, in pieces, or hears that
// some of it is no longer kept.
func TestTailGivesWhatIsBehind(t *testing.T) {
	l := kept(1000, 1<<20)
	for _, from := range []int{0, 1, 9, 10, 11, 555, 999, 1000} {
		at := Place{}
		if from > 0 {
			at = Place{uint64((from-1)/10 + 1), (from-1)%10 + 1}
		}
		next := int64(from + 1)
		var space []Record
		for {
			records, over, ok, changed := l.after(at, space)
			if !ok || over || len(records) > batchRecords {
				t.Fatalf("behind %v: %d records, %v %v", at, len(records), over, ok)
			}
			if len(records) == 0 {
				if changed == nil {
					t.Fatal("nothing says when there is more")
				}
				break
			}
			for _, r := range records {
				if r.Pos != next {
					t.Fatalf("line %d, want %d", r.Pos, next)
				}
				next++
			}
			at, space = records[len(records)-1].Place, records
		}
		if next != 1001 {
			t.Errorf("from %d: up to %d", from, next-1)
		}
	}
}

func TestTailLetsGo(t *testing.T) {
	l := kept(1000, 100*(100+recordCost))
	if l.reaches(Place{}) || l.reaches(Place{50, 1}) || !l.reaches(Place{100, 10}) || len(l.kept) > 100 {
		t.Errorf("%d are kept, all behind %v", len(l.kept), l.before)
	}
	if _, _, ok, _ := l.after(Place{50, 1}, nil); ok {
		t.Error("what is no longer kept is passed over")
	}
	first := l.kept[0]
	if records, _, ok, _ := l.after(l.before, nil); !ok || records[0].Place != first.Place {
		t.Errorf("behind the last that was let go of: %v", records)
	}
}

// Who waits is woken by the next record, and by the end.
func TestTailWakes(t *testing.T) {
	l := kept(10, 1<<20)
	_, _, _, changed := l.after(Place{1, 10}, nil)
	_, _, _, also := l.after(Place{1, 10}, nil)
	l.keep(Record{Place: Place{2, 1}, Pos: 11}, 1<<20)
	<-changed
	<-also
	records, over, _, _ := l.after(Place{1, 10}, nil)
	if len(records) != 1 || over {
		t.Errorf("%v, %v", records, over)
	}
	_, _, _, changed = l.after(Place{2, 1}, nil)
	l.mu.Lock()
	l.over = true
	l.wake()
	l.mu.Unlock()
	<-changed
	if _, over, _, _ := l.after(Place{2, 1}, nil); !over {
		t.Error("it is not over")
	}
}
