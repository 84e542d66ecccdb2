package term

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A table that lacks a column that may give way is still one.
func TestTableWithoutAColumnThatGivesWay(t *testing.T) {
	var out bytes.Buffer
	table := NewTable(Look{Terminal: true, Width: 20}, "runner", "offset")
	table.GiveWay("server", "runner")
	table.Add("a-runner-with-a-long-name", "+1.0ms")
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(line, " \n"))); n > 20 {
			t.Errorf("%q is %d wide", line, n)
		}
	}
}

// What gives way is first the column in which there is nothing.
// Ids are shortened before anything is cut, to what tells them apart, and not
// where they were chosen by somebody.
func TestTableOfBeginnings(t *testing.T) {
	const a, b = "01M8C15QDZE2HPESMWKK4C9994", "01M8C15QDZE2HXESMWKK4C9994"
	for _, c := range []struct {
		width int
		wide  bool
		ids   []string
		want  string
	}{
		{80, false, []string{a, b}, "ID NAME END " + a + " sleep 1000 exit 143 " + b + " sleep 1000 exit 143"},
		{40, false, []string{a, b}, "ID NAME END 01M8C15QDZE2HP sleep 1000 exit 143 01M8C15QDZE2HX sleep 1000 exit 143"},
		{40, false, []string{a}, "ID NAME END 01M8C15QDZE2 sleep 1000 exit 143"},
		{41, false, []string{a, "nightly-of-2026-11-26"}, "ID NAME END 01M8C15QDZE2 sleep 1… exit 143 nightly-of-2026-11-26 sleep 1… exit 143"},
		{40, true, []string{a}, "ID NAME END " + a + " sleep 1000 exit 143"},
	} {
		var out bytes.Buffer
		table := NewTable(Look{Terminal: true, Width: c.width}, "id", "name", "end")
		table.GiveWay("name", "end")
		table.Beginnings("id")
		table.Wide = c.wide
		for _, id := range c.ids {
			table.Add(id, "sleep 1000", "exit 143")
		}
		if err := table.Write(&out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != c.want {
			t.Errorf("%d wide: got %q, want %q", c.width, got, c.want)
		}
	}
}

// What matters least is left out before how a run ended is cut.
func TestTableLeavesOut(t *testing.T) {
	for width, want := range map[int]string{
		41: "ID LINES FOR NAME END nightly 5 1s sleep 1000 exit 143",
		39: "ID LINES FOR NAME END nightly 5 1s sleep 1… exit 143",
		34: "ID FOR NAME END nightly 1s sleep 1000 exit 143",
		29: "ID NAME END nightly sleep 1000 exit 143",
		27: "ID NAME END nightly sleep 1… exit 143",
	} {
		var out bytes.Buffer
		table := NewTable(Look{Terminal: true, Width: width}, "id", "lines", "for", "name", "end")
		table.GiveWay("name", "end")
		table.LeaveOut("lines", "for")
		table.Add("nightly", "5", "1s", "sleep 1000", "exit 143")
		if err := table.Write(&out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != want {
			t.Errorf("%d wide: got %q, want %q", width, got, want)
		}
	}
}

func TestTableWithoutNothing(t *testing.T) {
	for width, want := range map[int]string{
		30: "RUN     NAME  END\n0123456789        exit 143\n",
		22: "RUN         END\n0123456789  exit 143\n",
	} {
		var out bytes.Buffer
		table := NewTable(Look{Terminal: true, Width: width}, "run", "name", "end")
		table.GiveWay("name", "end")
		table.Add("0123456789", "", "exit 143")
		if err := table.Write(&out); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%d wide: got %q", width, got)
		}
	}
}

func TestColourIsForTerminals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no ptys to test with")
	}
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer terminal.Close()
	if err := pty.Setsize(terminal, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if got, want := LookOf(terminal), (Look{Terminal: true, Colour: true, Width: 100, Height: 30}); got != want {
		t.Errorf("a terminal: got %+v, want %+v", got, want)
	}
	t.Setenv("NO_COLOR", "1")
	if LookOf(terminal).Colour {
		t.Error("colour in spite of NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if LookOf(terminal).Colour {
		t.Error("colour on a dumb terminal")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if got, want := LookOf(w), (Look{Width: 80}); got != want {
		t.Errorf("a pipe: got %+v, want %+v", got, want)
	}
}

func TestDurationsAsPeopleSayThem(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"}, {2 * time.Millisecond, "2ms"}, {99 * time.Millisecond, "99ms"}, {800 * time.Millisecond, "0.8s"},
		{9940 * time.Millisecond, "9.9s"}, {9990 * time.Millisecond, "9s"}, {59 * time.Second, "59s"},
		{time.Minute, "1m"}, {59 * time.Minute, "59m"}, {3 * time.Hour, "3h"}, {50 * time.Hour, "2d"}, {-time.Second, "-1.0s"},
	} {
		if got := ShortDuration(test.d); got != test.want {
			t.Errorf("%v: got %s, want %s", test.d, got, test.want)
		}
	}
	now := time.Now()
	if got := Ago(now, now.Add(-3*time.Minute)); got != "3m ago" {
		t.Errorf("got %s, want 3m ago", got)
	}
	if got := age(now, now.Add(time.Second)); got != "0s" {
		t.Errorf("a moment in the future, by a clock that is ahead: got %s, want 0s", got)
	}
	if got := Ago(now, time.Time{}); got != "-" {
		t.Errorf("never: got %s, want -", got)
	}
	if got := Size(1_234_567); got != "1.2 MB" {
		t.Errorf("got %s, want 1.2 MB", got)
	}
}

func fleetTable(l Look) string {
	table := NewTable(l, "runner", "state", "seen")
	table.Add("db1", Painted{Green, "online"}, "2s")
	table.Add("web3-with-a-long-name", Painted{Red, "offline"})
	table.Add("evil\x1b[2J\nname", "x", "y")
	var out bytes.Buffer
	if err := table.Write(&out); err != nil {
		panic(err)
	}
	return out.String()
}

func TestTable(t *testing.T) {
	want := `RUNNER                 STATE    SEEN
db1                    online   2s
web3-with-a-long-name  offline
evil` + "\uFFFD" + `[2J name          x        y
`
	if got := fleetTable(Look{Width: 80}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTableOnATerminal(t *testing.T) {
	got := fleetTable(Look{Terminal: true, Colour: true, Width: 30})
	if !strings.Contains(got, "\x1b[32monline\x1b[0m") {
		t.Errorf("got %q, want online in green", got)
	}
	for line := range strings.Lines(fleetTable(Look{Terminal: true, Width: 30})) {
		if got := len([]rune(strings.TrimRight(line, "\n"))); got > 30 {
			t.Errorf("%q is %d columns wide, want at most 30", line, got)
		}
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, Look{Terminal: true, Width: 80}, "runners", 4)
	p.Add(0)
	if out.Len() > 0 {
		t.Errorf("at once: got %q, want nothing of work that may be over in a moment", out.String())
	}
	p.drawn = p.drawn.Add(-time.Second)
	p.Add(1)
	if got := out.String(); !strings.Contains(got, "1/4 runners") || !strings.Contains(got, "[======  ") {
		t.Errorf("got %q, want a bar that is a quarter full", got)
	}
	p.Done()
	if !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("got %q, want the line taken away", out.String())
	}
	out.Reset()
	p = NewProgress(&out, Look{}, "runners", 0)
	p.drawn = p.drawn.Add(-time.Second)
	p.Add(1)
	p.Done()
	if out.Len() > 0 {
		t.Errorf("in a pipe: got %q, want nothing", out.String())
	}
}

// However narrow the terminal, the line fits into it, and the counts go last.
func TestProgressFits(t *testing.T) {
	for _, test := range []struct {
		width int
		noun  string
		total int64
		want  string
	}{
		{80, "runs", 1000, "[============            ] 500/1000 runs, 50/s"},
		{40, "runs", 1000, "[========         ] 500/1000 runs, 50/s"},
		{26, "runs", 1000, "500/1000 runs, 50/s"},
		{16, "runs", 1000, "500/1000 runs"},
		{8, "runs", 1000, "500/100"},
		{80, "runs", 0, "500 runs, 50/s"},
		{80, "runs", 400, "[========================] 400/400 runs, 50/s"},
		{80, Bytes, 2000, "[======                  ] 500 B of 2.0 kB, 50 B/s"},
		{80, Bytes, 0, "500 B, 50 B/s"},
	} {
		p := NewProgress(nil, Look{Width: test.width}, test.noun, test.total)
		p.count = 500
		got := p.line(p.began.Add(10 * time.Second))
		if got != test.want || len(got) >= test.width {
			t.Errorf("%d columns: got %q, want %q", test.width, got, test.want)
		}
	}
}
