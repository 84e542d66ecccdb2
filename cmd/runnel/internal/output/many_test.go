package output

import (
	"bytes"
	"testing"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/service/lines"
)

// Lines of many runners don't mix, whatever comes first.
func TestLinesOfManyRunnersStayWhole(t *testing.T) {
	var out, errOut bytes.Buffer
	a := app.New(app.Stdio{In: nil, Out: &out, Err: &errOut})
	all := NewMany(NewPrinter(a, false, false), nil)
	all.Width = 4
	all.Record("web1", lines.Record{Text: []byte("half "), Open: true})
	all.Record("db1", lines.Record{Text: []byte("whole")})
	all.Record("web1", lines.Record{Stream: lines.Stderr, Text: []byte("error")})
	all.Record("web1", lines.Record{Text: []byte("and half")})
	all.Record("db1", lines.Record{Text: []byte("rest"), Open: true})
	all.Record("db1", lines.Record{End: &lines.End{}})
	all.End("db1")
	if err := all.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "db1   whole\nweb1  half and half\ndb1   rest\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := errOut.String(), "web1  error\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// On a terminal a runner's colours end with its line, and its cursor stays there.
func TestColoursOfManyRunners(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		var out, errOut bytes.Buffer
		a := app.New(app.Stdio{Out: &out, Err: &errOut})
		a.Look.Terminal = terminal
		all := NewMany(NewPrinter(a, false, false), nil)
		all.Width = 4
		all.Record("web1", lines.Record{Text: []byte("\x1b[31mre"), Open: true})
		all.Record("web1", lines.Record{Text: []byte("d\x1b[2J")})
		all.Record("db1", lines.Record{Text: []byte("plain")})
		if err := all.Flush(); err != nil {
			t.Fatal(err)
		}
		want := "web1  \x1b[31mred\x1b[0m\ndb1   plain\n"
		if !terminal {
			want = "web1  \x1b[31mred\x1b[2J\ndb1   plain\n" // a pipe gets what was printed
		}
		if out.String() != want {
			t.Errorf("terminal %t: got %q, want %q", terminal, out.String(), want)
		}
	}
}
func TestGapsInWords(t *testing.T) {
	for want, gap := range map[string]*lines.Gap{
		"1 line (10 B) of output was dropped here":         {Lines: 1, Bytes: 10},
		"1,000 lines (2.0 MB) of output were dropped here": {Lines: 1000, Bytes: 2_000_000},
	} {
		if got := GapText(gap); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
