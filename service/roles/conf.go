package roles

import (
	"fmt"
	"strings"
)

// replies bound what a runner may answer: as many messages as a large reply has,
// for as long as a query waits.
const replies = "{max: 10, expires: \"2m\"}"

// Conf writes the list as permissions of a NATS server's configuration file.
func (l *List) Conf(indent string) string {
	var b strings.Builder
	b.WriteString("{\n")
	write := func(name string, lines []Line) {
		fmt.Fprintf(&b, "%s  %s = [\n", indent, name)
		why := ""
		for _, line := range lines {
			if line.Why != why {
				why = line.Why
				fmt.Fprintf(&b, "%s    # %s\n", indent, why)
			}
			fmt.Fprintf(&b, "%s    %q\n", indent, strings.TrimSpace(line.Subject+" "+line.Queue))
		}
		fmt.Fprintf(&b, "%s  ]\n", indent)
	}
	write("publish", l.Publish)
	write("subscribe", l.Subscribe)
	if l.Replies {
		fmt.Fprintf(&b, "%s  allow_responses = %s\n", indent, replies)
	}
	b.WriteString(indent + "}")
	return b.String()
}
