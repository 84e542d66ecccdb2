package run

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/runnel-io/runnel/pb"
)

// A record tells people what a run executes, by its kind.
func TestCommandOfKinds(t *testing.T) {
	for _, c := range []struct {
		want string
		task *pb.Task
	}{
		{"ls -l", argv("ls", "-l")},
		{`touch "a b" "" "x\ny" "it's"`, argv("touch", "a b", "", "x\ny", "it's")},
		{"echo a; b", &pb.Task{Commands: []string{"echo a;", "b"}}},
		{"bash script", &pb.Task{File: &pb.File{Content: []byte("secret")}}},
		{"go program -v", &pb.Task{Language: &pb.Language{Name: "go"}, File: &pb.File{}, Argv: []string{"-v"}}},
		{"", &pb.Task{}},
	} {
		if got := commandOf(c.task); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// A clip is at a rune, and what fits is not clipped.
func TestClipRunes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int
	}{
		{"", 0}, {"ab", 2}, {strings.Repeat("ü", maxCommandRunes), maxCommandRunes},
		{strings.Repeat("ü", maxCommandRunes+1), maxCommandRunes}, {strings.Repeat("x", 9000), maxCommandRunes},
	} {
		got := clipRunes(c.in)
		if n := utf8.RuneCountInString(got); n != c.want || !utf8.ValidString(got) || !strings.HasPrefix(c.in, got) {
			t.Errorf("%d bytes became %d runes", len(c.in), n)
		}
	}
}
