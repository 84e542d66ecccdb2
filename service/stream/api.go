package stream

import (
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Prefix is what the subjects of JetStream's API begin with, as js spells it:
// "$JS.API.", or that of a domain or of an import.
func Prefix(js jetstream.JetStream) string {
	options := js.Options()
	switch {
	case options.Domain != "":
		return "$JS." + options.Domain + ".API."
	case options.APIPrefix == "":
		return jetstream.DefaultAPIPrefix
	}
	return strings.TrimSuffix(options.APIPrefix, ".") + "."
}

// Stream is a stream by name. Making one asks the server nothing.
type Stream struct {
	JS   jetstream.JetStream
	Name string
}

// api spells a subject of the API for this stream, such as "STREAM.MSG.GET.".
func (s Stream) api(verb string) string { return Prefix(s.JS) + verb + s.Name }
