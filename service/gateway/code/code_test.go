package code

import (
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
)

// The newest version that a range has, of a language by anybody's name.
func TestFindRuntime(t *testing.T) {
	found := []toolchain{
		{languages[0], []string{"3.9.1", "3.11.7", "3.11.2"}},
		{languages[1], []string{"20.20.2"}},
		{language{ours: "odd", piston: "odd"}, []string{"not a version", "7"}},
	}
	for _, c := range []struct{ name, versions, want string }{
		{"python", "*", "python3 3.11.7"},
		{"py", "3.11.x", "python3 3.11.7"},
		{"python3", "3.11.2", "python3 3.11.2"},
		{"python3", "<3.10", "python3 3.9.1"},
		{"python3", "^3.9.0", "python3 3.11.7"},
		{"js", "20", "node 20.20.2"},
		{"odd", "*", "odd 7"},
		{"python", "2.x", ""},
		{"python", "latest", ""},
		{"cobol", "*", ""},
		{"Python", "*", ""},
	} {
		got := ""
		if tool, version := findRuntime(found, c.name, c.versions); tool != nil {
			got = tool.ours + " " + version
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, c.versions, got, c.want)
		}
	}
}

func TestVersionsHaveThreeNumbers(t *testing.T) {
	for version, want := range map[string]string{"3.11.7": "3.11.7", "7": "7.0.0", "1.2": "1.2.0", "v1.2.3": "1.2.3", "1.26.8-rc1": "1.26.8", "odd": "odd"} {
		if got := semverText(version); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

func TestDecodeContent(t *testing.T) {
	for _, c := range []struct{ text, encoding, want string }{
		{"plain", "", "plain"},
		{"aGk=", "utf8", "aGk="},
		{"aGk=", "base64", "hi"},
		{"aGk", "base64", "hi"},
		{"a\nGk=\r\n", "base64", "hi"},
		{"_-8=", "base64", "\xff\xef"},
		{"6869", "hex", "hi"},
		{"", "hex", ""},
	} {
		if got, err := decodeContent(c.text, c.encoding); err != nil || string(got) != c.want {
			t.Errorf("%q as %s: %q, %v", c.text, c.encoding, got, err)
		}
	}
	for encoding, text := range map[string]string{"base64": "a*b", "hex": "6"} {
		if got, err := decodeContent(text, encoding); err == nil {
			t.Errorf("%q as %s: %q", text, encoding, got)
		}
	}
}

// What is kept of an output is bounded, and says that it was cut.
func TestOutputIsCut(t *testing.T) {
	var b cutBuffer
	for range 3 {
		b.add([]byte(strings.Repeat("x", maxCodeOutput/2)))
	}
	if b.Len() != maxCodeOutput || !b.cut {
		t.Errorf("%d bytes, cut %v", b.Len(), b.cut)
	}
	var whole cutBuffer
	whole.add([]byte(strings.Repeat("x", maxCodeOutput)))
	if whole.Len() != maxCodeOutput || whole.cut {
		t.Errorf("%d bytes, cut %v", whole.Len(), whole.cut)
	}
}

// A string for what a program can't tell itself, nothing for one that has ended.
func TestFailures(t *testing.T) {
	cut := output{}
	cut.stderr.cut = true
	for _, c := range []struct {
		run  *pb.Run
		out  output
		want string
	}{
		{&pb.Run{State: pb.State_COMPLETE, ExitCode: 3, Reason: "exit"}, output{}, ""},
		{&pb.Run{State: pb.State_FAILED, Reason: "compile"}, output{}, "the program does not compile"},
		{&pb.Run{State: pb.State_TIMEDOUT}, output{}, "timed out"},
		{&pb.Run{State: pb.State_FAILED, Reason: "oom"}, output{}, "out of memory"},
		{&pb.Run{State: pb.State_COMPLETE}, cut, "the output was cut: it is too long"},
		{&pb.Run{State: pb.State_FAILED, Reason: "output-limit"}, output{}, "the output was cut: it is too long"},
		{&pb.Run{State: pb.State_ABORTED}, output{}, "aborted"},
		{&pb.Run{State: pb.State_FAILED, Error: "why"}, output{}, "why"},
	} {
		if got := (&codeResult{record: c.run, run: c.out}).failure(); got != c.want {
			t.Errorf("%v: %q, want %q", c.run, got, c.want)
		}
	}
}
