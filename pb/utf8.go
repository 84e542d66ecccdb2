package pb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// refuseNotUTF8 names the first field whose bytes are no text: JSON and protobuf
// have no other strings, and to replace them would run another command or look at
// another file.
func refuseNotUTF8(body []byte) error {
	at := firstNotUTF8(body)
	if at < 0 {
		return nil
	}
	path := pathAt(body, at)
	text := fmt.Sprintf("the byte 0x%02x is not UTF-8", body[at])
	switch {
	case path == "":
		return invalid("invalid JSON: %s", text)
	case strings.HasSuffix(path, ".path"):
		return invalid("%s: %s; send such a name in pathBytes, as base64", path, text)
	}
	return invalid("%s: %s", path, text)
}

func firstNotUTF8(body []byte) int {
	for at := 0; at < len(body); {
		r, size := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
	return -1
}

// level is an object or a list that is being read.
type level struct {
	list  bool
	index int
	key   string
	isKey bool // a key comes next
}

// pathAt is the field that the byte at a position is in, "" if that can't be told.
func pathAt(body []byte, at int) string {
	d := json.NewDecoder(bytes.NewReader(body))
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		if text, ok := token.(string); ok && len(levels) > 0 && levels[len(levels)-1].isKey {
			levels[len(levels)-1].key, levels[len(levels)-1].isKey = text, false
			if d.InputOffset() > int64(at) {
				return ""
			}
			continue
		}
		if d.InputOffset() > int64(at) {
			return pathOf(levels)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			levels = append(levels, level{list: token == json.Delim('['), isKey: token == json.Delim('{')})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
		if len(levels) > 0 {
			top := &levels[len(levels)-1]
			top.index++
			top.isKey = !top.list
		}
	}
}

func pathOf(levels []level) string {
	var path strings.Builder
	for _, l := range levels {
		switch {
		case l.list:
			path.WriteString("[" + strconv.Itoa(l.index) + "]")
		case path.Len() > 0:
			path.WriteString("." + l.key)
		default:
			path.WriteString(l.key)
		}
	}
	return path.String()
}

// maxDeep is deeper than any message of ours.
const maxDeep = 32

// fieldNotUTF8 is the path of the first text in a protobuf message that is none,
// "" if there is no such text.
func fieldNotUTF8(body []byte, message protoreflect.MessageDescriptor, deep int) string {
	if deep > maxDeep {
		return ""
	}
	seen := map[protowire.Number]int{}
	for len(body) > 0 {
		number, kind, head := protowire.ConsumeTag(body)
		if head < 0 {
			return ""
		}
		size := protowire.ConsumeFieldValue(number, kind, body[head:])
		if size < 0 {
			return ""
		}
		value := body[head : head+size]
		body = body[head+size:]
		f := message.Fields().ByNumber(number)
		if f == nil || kind != protowire.BytesType {
			continue
		}
		name := f.JSONName()
		if f.IsList() {
			name += "[" + strconv.Itoa(seen[number]) + "]"
			seen[number]++
		}
		text, _ := protowire.ConsumeBytes(value)
		switch {
		case f.Kind() == protoreflect.StringKind && !utf8.Valid(text):
			return name
		case f.Message() != nil:
			if inside := fieldNotUTF8(text, f.Message(), deep+1); inside != "" {
				return name + "." + inside
			}
		}
	}
	return ""
}
