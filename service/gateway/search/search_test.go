package search_test

import (
	"testing"

	"github.com/runnel-io/runnel/service/gateway/search"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                                "plain",
		"\x1b[31mred\x1b[0m":                   "red",
		"a\x1b[38;2;1;2;3mb\x1b[mc":            "abc",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\a": "link",
		"\x1b(Bx\x1b=y":                        "xy",
		"er\x1b[1mr\x1b[0mor":                  "error",
		"cut \x1b[3":                           "cut ",
		"cut \x1b":                             "cut ",
		"\x1b]never ends":                      "",
		"":                                     "",
		"\x1b\x1b[1mx":                         "[1mx",
	} {
		if got := string(search.Plain([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
