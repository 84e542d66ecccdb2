package runlog

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/gateway/stream"
	"github.com/runnel-io/runnel/service/lines"
)

// readMessages is a reader that was given messages of records, by their numbers, up
// to where it had enough.
func readMessages(t *testing.T, tip uint64, from int, messages ...[]lines.Record) *linesPage {
	t.Helper()
	page := &linesPage{At: stream.Place{Seq: tip, Record: 2}.String(), Next: 1}
	l := &lineReader{page: page, limit: 10, most: lineMost, tip: tip, open: map[int64]*Line{}}
	for i, records := range messages {
		l.at = stream.Place{Seq: uint64(from + i)}
		for _, r := range records {
			if err := l.record(r); errors.Is(err, errEnough) {
				return page
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	return page
}

// What comes between the look at a log's end and its reading is not in the page,
// since it is among the events from there on. The last lines of a log that grows
// quickly may have come since; then the events go on behind them.
func TestLinesEndWhereEventsGoOn(t *testing.T) {
	one := []lines.Record{{Pos: 1, Text: []byte("one")}, {Pos: 2, Text: []byte("tw"), Open: true}}
	two := []lines.Record{{Pos: 2, Text: []byte("o")}, {Pos: 3, Text: []byte("three")}}
	end := []lines.Record{{Pos: 4, End: &lines.End{State: "COMPLETE"}}}
	for _, test := range []struct {
		name     string
		tip      uint64
		from     int
		messages [][]lines.Record
		want, at string
	}{
		{"nothing came", 1, 1, [][]lines.Record{one}, "1:one 2:tw+", "1.2"},
		{"more came", 1, 1, [][]lines.Record{one, two, end}, "1:one 2:tw+", "1.2"},
		{"all was there", 2, 1, [][]lines.Record{one, two}, "1:one 2:two 3:three", "2.2"},
		{"the end came", 2, 1, [][]lines.Record{one, two, end}, "1:one 2:two 3:three", "2.2"},
		{"a tail of what came", 1, 2, [][]lines.Record{two, end}, "2:o 3:three", "2.2"},
		{"the log was empty", 0, 1, [][]lines.Record{one, two}, "1:one 2:two 3:three", "2.2"},
	} {
		page := readMessages(t, test.tip, test.from, test.messages...)
		var got []string
		for _, l := range page.Lines {
			text := fmt.Sprintf("%d:%s", l.N, l.text)
			if l.Open {
				text += "+"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, " "); text != test.want || page.At != test.at {
			t.Errorf("%s: %s, events from %s; want %s, %s", test.name, text, page.At, test.want, test.at)
		}
	}
}
