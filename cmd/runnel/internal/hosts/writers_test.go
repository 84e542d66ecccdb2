package hosts

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/quick"

	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
)

func TestLinesGetTheirRunnersName(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		want   string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"a\nb\n"}, "web1  a\nweb1  b\n"},
		{[]string{"a\nb"}, "web1  a\nweb1  b\n"}, // the last line gets an end
		{[]string{"a", "b", "\n", "c\n"}, "web1  ab\nweb1  c\n"},
		{[]string{"\n\n"}, "web1  \nweb1  \n"},
		{[]string{"a\r\n"}, "web1  a\r\n"},
		{[]string{"\xff\xfe"}, "web1  \xff\xfe\n"},
	} {
		var out bytes.Buffer
		p := &prefixed{to: &out, prefix: "web1  "}
		for _, piece := range c.pieces {
			if n, err := p.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Errorf("%q: wrote %d, %v", piece, n, err)
			}
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want {
			t.Errorf("%q: got %q, want %q", c.pieces, out.String(), c.want)
		}
	}
}

// However a file is cut into pieces, its lines come out the same, and taking the
// prefixes away gives the file.
func TestPiecesMakeNoDifference(t *testing.T) {
	check := func(text string, cuts []uint8) bool {
		text = strings.NewReplacer("a", "\n", "e", "\n").Replace(text)
		var whole, cut bytes.Buffer
		w, c := &prefixed{to: &whole, prefix: "> "}, &prefixed{to: &cut, prefix: "> "}
		_, _ = w.Write([]byte(text))
		rest := text
		for _, n := range cuts {
			at := min(int(n%7), len(rest))
			_, _ = c.Write([]byte(rest[:at]))
			rest = rest[at:]
		}
		_, _ = c.Write([]byte(rest))
		if w.end() != nil || c.end() != nil || whole.String() != cut.String() {
			return false
		}
		var back strings.Builder
		for line := range strings.Lines(whole.String()) {
			back.WriteString(strings.TrimPrefix(line, "> "))
		}
		return strings.TrimSuffix(back.String(), "\n") == strings.TrimSuffix(text, "\n")
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// brokenPipe takes so many bytes.
type brokenPipe struct{ room int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if len(p) > b.room {
		return 0, io.ErrClosedPipe
	}
	b.room -= len(p)
	return len(p), nil
}

// What can't be written is said, by the piece and by the end of a line.
func TestWritersTellOfBrokenPipes(t *testing.T) {
	p := &prefixed{to: &brokenPipe{8}, prefix: "web1  "}
	if _, err := p.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	if err := p.end(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the end of a line: got %v", err)
	}
	if _, err := p.Write([]byte("cd")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a piece: got %v", err)
	}
	c := &counting{to: &brokenPipe{4}, bar: term.NewProgress(io.Discard, term.Look{}, term.Bytes, 0)}
	if n, err := c.Write([]byte("abcd")); n != 4 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := c.Write([]byte("e")); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %d, %v, want what the writer says", n, err)
	}
}

// A piece has a size for every limit, and its base64 fits.
func TestPiecesFitAnyPayload(t *testing.T) {
	check := func(limit uint32) bool {
		payload := int64(limit%(64<<20)) + 1
		n := pieceBytes(payload)
		return n >= 1 && n <= catPiece && (payload < 16 || int64(base64.StdEncoding.EncodedLen(int(n))) < payload)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	if got := pieceBytes(1 << 20); got != 512<<10 {
		t.Errorf("with the limit that servers have: pieces of %d", got)
	}
}

func TestColumnForTheRunner(t *testing.T) {
	for _, all := range []bool{false, true} {
		g := &glanceCommand{}
		g.where.All = all
		g.App = newApp(io.Discard)
		table := g.table("pid", "command")
		g.add(table, &pb.GlanceReply{Runner: "web1"}, 7, "sleep")
		want := "PID  COMMAND\n7    sleep"
		if all {
			want = "RUNNER  PID  COMMAND\nweb1    7    sleep"
		}
		if got := strings.Join(table.Lines(), "\n"); got != want {
			t.Errorf("all %t: got\n%s\nwant\n%s", all, got, want)
		}
	}
}
