package service_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/wire"
)

// brief is a record as a table can have it: stdout is not named.
func brief(r wire.Record) string {
	s := fmt.Sprint(r.Pos)
	if r.Stream != "" {
		s += " " + r.Stream
	}
	if r.Tag != "" {
		s += " " + r.Tag
	}
	switch {
	case r.Tag == "GAP":
		return fmt.Sprintf("%s %d lines %d bytes", s, r.Lines, r.Bytes)
	case r.Tag == "EOF":
		return fmt.Sprintf("%s %d lines %d bytes", s, r.Lines, r.Bytes)
	case r.Raw != nil:
		return fmt.Sprintf("%s %q raw %q", s, r.Message, r.Raw)
	case r.Messages != nil:
		return fmt.Sprintf("%s %q", s, r.Messages)
	}
	return fmt.Sprintf("%s %q", s, r.Message)
}

// The records of what a task prints, one by one. (bash's own printf writes line
// by line; that of coreutils, all at once.)
func TestLines(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for _, c := range []struct {
		name, script, log string
		want              []string
	}{
		{"nothing", ``, ``, []string{"1 EOF 0 lines 0 bytes"}},
		{"a line", `echo hi`, ``, []string{`1 "hi"`, "2 EOF 1 lines 3 bytes"}},
		{"no newline at the end", `printf hi`, ``, []string{`1 BOL "hi"`, "2 EOF 1 lines 2 bytes"}},
		{"an empty line", `echo`, ``, []string{`1 ""`, "2 EOF 1 lines 1 bytes"}},
		{"read together", `env printf 'a\nb\n\nc\n'`, ``, []string{`1 ["a" "b" "" "c"]`, "5 EOF 4 lines 7 bytes"}},
		{"one line a message", `printf 'a\nb\n'`, `"pack":1`, []string{`1 "a"`, `2 "b"`, "3 EOF 2 lines 4 bytes"}},
		{"two lines a message", `env printf 'a\nb\nc\n'`, `"pack":2`, []string{`1 ["a" "b"]`, `3 "c"`, "4 EOF 3 lines 6 bytes"}},
		{"a line that says EOF", `printf 'EOF\nBOL\nGAP\n'`, `"pack":1`, []string{`1 "EOF"`, `2 "BOL"`, `3 "GAP"`, "4 EOF 3 lines 12 bytes"}},
		{"CR is a byte", `printf 'a\r\nb\r'`, ``, []string{`1 "a\r"`, `2 BOL "b\r"`, "3 EOF 2 lines 5 bytes"}},
		{"control characters", `printf '\0\1\33[1m\177\n'`, ``, []string{`1 "\x00\x01\x1b[1m\x7f"`, "2 EOF 1 lines 8 bytes"}},
		{"quotes", `printf '"\\<>&\342\200\250\n'`, ``, []string{`1 "\"\\<>&` + "\\u2028" + `"`, "2 EOF 1 lines 9 bytes"}},
		{"width 1", `echo aé`, `"width":1`, []string{`1 BOL "a"`, `1 "é"`, "2 EOF 1 lines 4 bytes"}},
		{"width 3", `echo abcdefg`, `"width":3`, []string{`1 BOL "abc"`, `1 BOL "def"`, `1 "g"`, "2 EOF 1 lines 8 bytes"}},
		{"width, exactly", `echo abc`, `"width":3`, []string{`1 "abc"`, "2 EOF 1 lines 4 bytes"}},
		{"width is in runes", `echo 日本語`, `"width":2`, []string{`1 BOL "日本"`, `1 "語"`, "2 EOF 1 lines 10 bytes"}},
		{"not UTF-8", `printf 'a\377b\n'`, ``, []string{`1 "a` + "\uFFFD" + `b" raw "a\xffb"`, "2 EOF 1 lines 4 bytes"}},
		{"half a rune at the end", `printf '\342\202'`, ``, []string{`1 BOL "` + "\uFFFD\uFFFD" + `" raw "\xe2\x82"`, "2 EOF 1 lines 2 bytes"}},
		{"stderr", `echo e >&2`, ``, []string{`1 stderr "e"`, "2 EOF 1 lines 2 bytes"}},
		{"a prompt, and its newline late", `printf 'name? '; sleep 0.6; echo`, ``, []string{`1 BOL "name? "`, `1 ""`, "2 EOF 1 lines 7 bytes"}},
		{"a prompt and the other stream", `printf 'a '; sleep 0.6; echo e >&2; sleep 0.3; echo b`, ``, []string{`1 BOL "a "`, `2 stderr "e"`, `1 "b"`, "3 EOF 2 lines 6 bytes"}},
		{"a rune in halves", `printf '\342\202'; sleep 0.6; printf '\254\n'`, ``, []string{`1 "€"`, "2 EOF 1 lines 4 bytes"}},
		{"above maxBytes", `printf 'ab\n'; sleep 0.3; printf 'cd\nef\n'; exit 5`, `"maxBytes":"4"`, []string{`1 "ab"`, "2 GAP 2 lines 6 bytes", "4 EOF 1 lines 3 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := *f
			g.t = t
			got := g.run(fmt.Sprintf(`{"argv":["bash","-c",%s],"log":{%s}}`, quote(c.script), c.log))
			var records []string
			for _, r := range got.records {
				records = append(records, brief(r))
			}
			if diff := cmp.Diff(c.want, records); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Widths from one up; what isn't positive is the default of 500.
func TestWidth(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	line := strings.Repeat("0123456789", 150) // 1500 runes
	for width, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 4, 499: 499, 500: 500, 0: 500, -1: 500, -1 << 40: 500, 1500: 1500, 1 << 40: 1500} {
		got := f.run(fmt.Sprintf(`{"argv":["cat"],"stdin":%q,"log":{"width":%d}}`, base64.StdEncoding.EncodeToString([]byte(line)), width))
		if got.stdout != line {
			t.Errorf("width %d: got %d bytes", width, len(got.stdout))
		}
		if first := len(got.records[0].Message); first != want {
			t.Errorf("width %d: the first record has %d runes, want %d", width, first, want)
		}
	}
	if got := f.run(`{"argv":["cat"],"stdin":"` + strings.Repeat("AAAA", 60000) + `","log":{"width":1000000}}`); len(got.stdout) != 180000 {
		t.Errorf("got %d bytes", len(got.stdout))
	} else {
		for _, r := range got.records {
			if len(r.Message) > 64<<10 {
				t.Errorf("a record has %d bytes", len(r.Message))
			}
		}
	}
}

// What is above log.maxBytes is dropped, the run goes on, and record and EOF say
// how much.
func TestMaxBytes(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	got := f.run(`{"argv":["bash","-c","seq 100000; exit 6"],"log":{"maxBytes":1000}}`)
	record := f.record(got.id)
	if got.end.ExitCode != 6 || got.end.Bytes != 1000 || len(got.stdout) != 1000 || !strings.HasPrefix(got.stdout, "1\n2\n") {
		t.Errorf("got %d bytes, %+v", len(got.stdout), got.end.End)
	}
	if record["bytes"] != 1000.0 || record["droppedBytes"] != 588895.0-1000 || record["dropped"] != float64(got.end.Dropped) || got.end.Dropped == 0 {
		t.Errorf("the record is %v, EOF %+v", record, got.end.End)
	}
}

// Output above limits.outputBytes ends the run; what is below is kept.
func TestOutputLimit(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for _, limit := range []string{`1000`, `"1000"`} {
		got := f.run(`{"argv":["bash","-c","while :; do echo 123456789; done"],"limits":{"outputBytes":` + limit + `}}`)
		if want := strings.Repeat("123456789\n", 100); got.stdout != want {
			t.Errorf("%s: got %d bytes", limit, len(got.stdout))
		}
		if got.end.State != "COMPLETE" || got.end.Reason != "output-limit" {
			t.Errorf("%s: got %+v", limit, got.end.End)
		}
		if record := f.record(got.id); record["reason"] != "output-limit" || record["bytes"] != 1000.0 {
			t.Errorf("%s: the record is %v", limit, record)
		}
	}
	if got := f.run(`{"argv":["bash","-c","printf 1234567890"],"limits":{"outputBytes":10}}`); got.end.Reason != "exit" {
		t.Errorf("exactly the limit: got %+v", got.end.End)
	}
	for _, bad := range []string{`"lots"`, `-1`, `1.5`, `true`, `{}`} {
		f.refused(400, "limits.outputBytes", "runner.task.any", `{"kind":"runner","spec":{"task":{"commands":["true"],"limits":{"outputBytes":`+bad+`}}}}`)
	}
}

// What people are to see is not held back by what else is printed: a prompt by the
// other stream, a progress bar by itself.
func TestUnfinishedLinesAreSeen(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	got := f.run(`{"argv":["bash","-c","printf 'name? '; for i in {1..20}; do echo $i >&2; sleep 0.05; done; echo Bob"]}`)
	at := func(text string) int {
		return slices.IndexFunc(got.records, func(r wire.Record) bool { return r.Message == text })
	}
	if prompt := at("name? "); prompt < 0 || prompt > at("20") {
		t.Errorf("the prompt is record %d, and the 20th line of the other stream %d", prompt, at("20"))
	}
	got = f.run(`{"argv":["bash","-c","for i in {1..20}; do printf .; sleep 0.05; done; echo"]}`)
	if n := len(got.records); n < 4 || got.stdout != strings.Repeat(".", 20)+"\n" {
		t.Errorf("a second of dots are %d records", n)
	}
}
