//go:build unix

package pipelines

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/creack/pty"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/tests/rig"
)

// escape is what moves a cursor or paints.
var escape = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// On a terminal of 80 columns no line of a table is longer, and a job that is
// followed is drawn as a table, over the one before.
func (p *place) terminal() {
	name, gate := strings.Repeat("a very long name ", 7), filepath.Join(p.t.TempDir(), "gate")
	p.reads(`{"pipelines": {"`+name+`": {"tasks": {"`+name+`": {"script": ["while [ ! -e `+gate+` ]; do sleep 0.05; done"]}, "`+name+`2": {"script": ["exit 3"], "depends_on": ["`+name+`"]}}}}}`, 0, "apply", "--source", "wide", "-")
	screen, ended := p.onTerminal("run", name, "--follow")
	rig.Eventually(p.t, "the graph is drawn", func() bool { return strings.Contains(screen.String(), "▸") })
	p.file(gate, "")
	if code := codeOf(<-ended); code != 1 {
		p.t.Errorf("code %d, want 1", code)
	}
	p.wants("the graph", screen.String(), "✗", "✓", "\x1b\\[[0-9]+A")
	p.fits("run", screen.String())
	id := p.shown("jobs", "--pipeline", name, "--limit", "1")[0]["id"].(string)
	for _, args := range [][]string{{"ls"}, {"jobs"}, {"show", id}} {
		screen, ended := p.onTerminal(args...)
		if err := <-ended; err != nil {
			p.t.Errorf("%q: %v", args, err)
		}
		p.fits(args[0], screen.String())
	}
}

// fits looks for lines of more than 80 columns; facts and sentences may be as long
// as what they tell.
func (p *place) fits(what, screen string) {
	p.t.Helper()
	for line := range strings.Lines(screen) {
		for part := range strings.SplitSeq(line, "\r") {
			text := strings.TrimRight(escape.ReplaceAllString(part, ""), "\r\n")
			sentence := regexp.MustCompile("^(user|pipeline|error|runnel:) ").MatchString(text)
			if n := utf8.RuneCountInString(text); n > 80 && !sentence {
				p.t.Errorf("%s: %d columns: %q", what, n, text)
			}
		}
	}
}

// onTerminal runs a command on a terminal of 80 columns. When it has ended, the
// screen is whole.
func (p *place) onTerminal(args ...string) (screen *rig.Buffer, ended <-chan error) {
	p.t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		p.t.Fatal(err)
	}
	screen = &rig.Buffer{}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(screen, master) })
	end := make(chan error, 1)
	go func() {
		err := p.run(app.Stdio{In: strings.NewReader(""), Out: slave, Err: slave}, append([]string{"pipeline"}, args...)...)
		slave.Close()
		reading.Wait()
		master.Close()
		end <- err
	}()
	return screen, end
}
