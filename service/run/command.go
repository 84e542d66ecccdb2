package run

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/runnel-io/runnel/pb"
)

// maxCommandRunes is how much of a command a record tells.
const maxCommandRunes = 256

// commandOf says what a task runs, for people: the shell text or the arguments;
// of a script and of code, what runs them.
func commandOf(t *pb.Task) string {
	switch {
	case t.GetLanguage() != nil:
		return clipRunes(words(append([]string{t.GetLanguage().GetName(), "program"}, t.GetArgv()...)))
	case t.GetFile() != nil:
		return "bash script"
	case len(t.GetCommands()) > 0:
		return clipRunes(strings.Join(t.GetCommands(), " "))
	}
	return clipRunes(words(t.GetArgv()))
}

// words joins arguments; one that a reader could take for several is quoted.
func words(argv []string) string {
	var b strings.Builder
	for i, arg := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		if arg == "" || strings.ContainsFunc(arg, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' || r == '\'' }) {
			arg = strconv.Quote(arg)
		}
		b.WriteString(arg)
		if b.Len() > maxCommandRunes*utf8.UTFMax {
			break
		}
	}
	return b.String()
}

func clipRunes(s string) string {
	n := 0
	for at := range s {
		if n == maxCommandRunes {
			return s[:at]
		}
		n++
	}
	return s
}
