package term

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/runnel-io/runnel/service/lines"
)

func TestWordsOfStrangers(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "": "", "ä€": "ä€", "a\nb\tc\rd": "a b c d", "\x1b[31mred": "\uFFFD[31mred", "a\x00b": "a\uFFFDb", "\x7f": "\uFFFD", "a\u0085b": "a\uFFFDb", "\u009b2J": "\uFFFD2J",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Whatever comes over the wire, it stays in its row.
func TestPrintableMovesNothing(t *testing.T) {
	check := func(s string) bool {
		got := Printable(s)
		return !strings.ContainsAny(got, "\n\r\t\x1b\x00\x7f\b") && utf8.RuneCountInString(got) == utf8.RuneCountInString(s) && Printable(got) == got
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestListsInWords(t *testing.T) {
	if got := Labels(map[string]string{"zone": "a", "env": "prod", "x": ""}); got != "env=prod,x=,zone=a" {
		t.Errorf("got %q", got)
	}
	if got := Labels(nil); got != "" {
		t.Errorf("none: got %q", got)
	}
	if got := SortedKeys(map[string]int{"b": 1, "a": 2, "C": 3}); !slices.Equal(got, []string{"C", "a", "b"}) {
		t.Errorf("got %q", got)
	}
	if Dash("") != "-" || Dash("x") != "x" || Dash(" ") != " " {
		t.Error("a dash stands for what is empty, and for nothing else")
	}
	if Longest(nil) != 0 || Longest([]string{"a", "web12", "db1"}) != 5 {
		t.Errorf("got %d and %d", Longest(nil), Longest([]string{"a", "web12", "db1"}))
	}
	for n, want := range map[int]string{0: "0 runs", 1: "1 run", 2: "2 runs", -1: "-1 runs"} {
		if got := Plural(n, "run"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_200_000: "1.2 MB", 64 << 30: "69 GB", -1: "-"} {
		if got := Size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestAgesInWords(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		0: "0s ago", 900 * time.Millisecond: "0s ago", 1900 * time.Millisecond: "1s ago", 59 * time.Second: "59s ago", time.Minute: "1m ago", 119 * time.Minute: "1h ago",
		47 * time.Hour: "1d ago", -time.Hour: "0s ago", // of a clock that is ahead
	} {
		if got := Ago(now, now.Add(-ago)); got != want {
			t.Errorf("%s: got %q, want %q", ago, got, want)
		}
	}
	if got := Ago(now, time.Time{}); got != "-" {
		t.Errorf("never: got %q", got)
	}
}

// A duration has one unit and few characters, and a longer one is never said to be
// shorter.
func TestDurationsAreShort(t *testing.T) {
	check := func(n uint64) bool {
		d := time.Duration(n % uint64(10_000*24*time.Hour))
		got := ShortDuration(d)
		if len(got) > 6 || !strings.ContainsAny(got[len(got)-1:], "smhd") {
			return false
		}
		return d == 0 || ShortDuration(-d) == "-"+got
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// However wide its cells and narrow its terminal, no line of a table is wider than
// that, and each row is there.
func TestTablesFitTheirTerminal(t *testing.T) {
	check := func(cells []string, width uint8, flexible, optional bool) bool {
		look := Look{Terminal: true, Width: 20 + int(width%120)}
		table := NewTable(look, "id", "name", "state", "note")
		if flexible {
			table.GiveWay("note", "name")
		}
		if optional {
			table.LeaveOut("state")
			table.Beginnings("id")
		}
		rows := 0
		for len(cells) >= 4 && rows < 10 {
			table.Add(strings.ReplaceAll(Printable(cells[0]), " ", ""), cells[1], cells[2], cells[3])
			cells = cells[4:]
			rows++
		}
		got := table.Lines()
		if len(got) != rows+1 {
			return false
		}
		for _, line := range got {
			if text.StringWidth(line) > look.Width {
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// A pipe gets all of every cell.
func TestTablesInAPipeAreWhole(t *testing.T) {
	table := NewTable(Look{Width: 20}, "a", "b")
	table.GiveWay("b")
	long := strings.Repeat("x", 200)
	table.Add("1", long)
	table.Add("2")
	table.Add("3", "y", "beyond the headings")
	if got, want := strings.Join(table.Lines(), "\n"), "A  B\n1  "+long+"\n2\n3  y"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := table.Write(brokenPipe{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want what the writer says", err)
	}
}

func TestNumbersStandToTheRight(t *testing.T) {
	table := NewTable(Look{}, "name", "lines", "bytes")
	table.AlignRight("lines", "bytes")
	table.Add("a", 7, Painted{Colour: Red, Text: "1000"})
	table.Add("b", 1234, 5)
	if got, want := strings.Join(table.Lines(), "\n"), "NAME  LINES  BYTES\na         7   1000\nb      1234      5"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A colour is for terminals that have some; the text is the same.
func TestColoursOfCells(t *testing.T) {
	for colour, want := range map[bool]string{true: "\x1b[31mbad\x1b[0m", false: "bad"} {
		if got := (Look{Colour: colour}).paint(Red, "bad"); got != want {
			t.Errorf("colour %t: got %q, want %q", colour, got, want)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// screen is where both streams end.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// Where both streams end on one screen, what was printed first stands first.
func TestStreamsKeepTheirOrder(t *testing.T) {
	check := func(turns []bool) bool {
		var both screen
		s := NewStreams(&both, &both)
		var want strings.Builder
		for i, isErr := range turns {
			stream := lines.Stdout
			if isErr {
				stream = lines.Stderr
			}
			part := string(rune('a' + i%26))
			want.WriteString(part + "\n")
			if s.Write(stream, []byte(part), []byte{'\n'}) != nil {
				return false
			}
		}
		return s.Flush() == nil && both.text.String() == want.String()
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// The first write that fails is said by all that follow it.
func TestStreamsTellOfTheFirstError(t *testing.T) {
	s := NewStreams(brokenPipe{}, io.Discard)
	if err := s.Write(lines.Stdout, []byte("x")); err != nil {
		t.Fatalf("it is only in a buffer: %v", err)
	}
	if err := s.Flush(); !errors.Is(err, io.ErrClosedPipe) || !strings.HasPrefix(err.Error(), "cannot print: ") {
		t.Errorf("got %v", err)
	}
	if err := s.Write(lines.Stderr, []byte("y")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("afterwards: got %v", err)
	}
}

// Progress is drawn beside output only where that goes elsewhere.
func TestProgressBesideOutput(t *testing.T) {
	terminal, pipe := Look{Terminal: true, Width: 80}, Look{Width: 80}
	for _, c := range []struct {
		err, out Look
		want     bool
	}{{terminal, terminal, false}, {terminal, pipe, true}, {pipe, terminal, false}, {pipe, pipe, false}} {
		if got := c.err.Beside(c.out).Terminal; got != c.want {
			t.Errorf("standard error %t, output %t: drawn is %t", c.err.Terminal, c.out.Terminal, got)
		}
	}
}

func TestTextThatFits(t *testing.T) {
	for width, want := range map[int]string{10: "abcdefgh", 8: "abcdefgh", 7: "abcd", 4: "abcd", 3: "abc", 0: "", -5: ""} {
		if got := firstThatFits(width, "abcdefgh", "abcd"); got != want {
			t.Errorf("%d columns: got %q, want %q", width, got, want)
		}
	}
}
