package subjects

import (
	"fmt"
	"strings"
	"unicode"
)

// Where replies go without a setting: the inboxes of NATS clients, those of
// clients with a token of their own (_INBOX_<token>.>), and what a server makes
// of an inbox in another account when it imports a service.
const (
	inbox         = "_INBOX"
	importedInbox = "_R_"
)

// IsInbox says whether a reply subject is an inbox, or begins with one of the
// further prefixes, which ReplyPrefix has read.
func IsInbox(subject string, further []string) bool {
	first, rest, more := strings.Cut(subject, ".")
	if !more || !plain(rest) {
		return false
	}
	if first == inbox || first == importedInbox {
		return true
	}
	if token, ok := strings.CutPrefix(first, inbox+"_"); ok && plain(token) {
		return true
	}
	for _, prefix := range further {
		if rest, ok := strings.CutPrefix(subject, prefix+"."); ok && plain(rest) {
			return true
		}
	}
	return false
}

// ReplyPrefix reads a prefix of inboxes, as a client is given one: acme.inbox, or
// acme.inbox.> as a permission has it. It refuses what reaches the server's own
// subjects or the fleet's.
func (s Space) ReplyPrefix(text string) (string, error) {
	prefix := strings.TrimSuffix(strings.TrimSuffix(text, ".>"), ".")
	switch {
	case !plain(prefix):
		return "", fmt.Errorf("cannot use reply prefix %q: it must be tokens separated by dots, without wildcards", text)
	case strings.HasPrefix(prefix, "$"):
		return "", fmt.Errorf("cannot use reply prefix %q: subjects that begin with $ are the NATS server's", text)
	case within(prefix, s.prefix), within(s.prefix, prefix):
		return "", fmt.Errorf("cannot use reply prefix %q: it reaches the subjects of the fleet %s", text, s.prefix)
	}
	return prefix, nil
}

// within says whether a subject is, or lies under, another.
func within(subject, under string) bool { return strings.HasPrefix(subject+".", under+".") }

// plain says whether a subject can be published on: no token is empty or a
// wildcard.
func plain(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return false
		}
	}
	return true
}
