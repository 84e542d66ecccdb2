package pb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MarshalJSON gives a message's JSON form: names in camel case, 64-bit
// integers as numbers, scalars present whether zero or not, messages that are
// not there left out, enums by bare name, bytes in base64, times in RFC 3339.
func MarshalJSON(m proto.Message) ([]byte, error) {
	return appendMessage(make([]byte, 0, 512), m.ProtoReflect())
}

// UnmarshalJSON reads a request strictly: 64-bit integers are numbers or
// strings; an unknown field, a null, a field that is there twice and anything
// after the object are errors that say where.
func UnmarshalJSON(body []byte, m proto.Message) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return invalid("empty body: want a JSON object")
	}
	if err := refuseNotUTF8(body); err != nil {
		return err
	}
	if err := refuseNull(body); err != nil {
		return err
	}
	if err := protojson.Unmarshal(body, m); err != nil {
		if strings.HasSuffix(err.Error(), "unexpected EOF") && json.Valid(body) {
			return invalid("invalid JSON: an escape between \\ud800 and \\udfff has no other half: it is no character")
		}
		return invalid("invalid JSON: %s", tidy(err))
	}
	if bytes.IndexByte(body, '_') < 0 {
		return nil
	}
	return refuseProtoNames(body, m.ProtoReflect().Descriptor())
}

// refuseProtoNames names the first field that is written as in the .proto files,
// which protojson takes as well. The body is right in all else.
func refuseProtoNames(body []byte, message protoreflect.MessageDescriptor) error {
	if freeForm(message) {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil // a list or a scalar, as some of protobuf's own messages are
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		f := message.Fields().ByJSONName(name)
		if f == nil {
			return invalid("invalid JSON: unknown field %q", name)
		}
		if f.Message() == nil || f.IsMap() {
			continue
		}
		values := []json.RawMessage{value}
		if f.IsList() {
			values = nil
			if err := json.Unmarshal(value, &values); err != nil {
				return invalid("invalid JSON: %s", err)
			}
		}
		for _, value := range values {
			if err := refuseProtoNames(value, f.Message()); err != nil {
				return err
			}
		}
	}
	return nil
}

// UnmarshalRecord reads what Runnel itself wrote, perhaps a later version of
// it: fields that it doesn't know are passed over.
func UnmarshalRecord(body []byte, m proto.Message) error {
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, m); err != nil {
		return fmt.Errorf("cannot read %s: %s", m.ProtoReflect().Descriptor().Name(), tidy(err))
	}
	return nil
}

// tidy takes out the prefix of protobuf's errors and the no-break space that it
// puts there at random.
func tidy(err error) string {
	s := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.TrimSpace(strings.TrimPrefix(s, "proto:"))
}

// refuseNull names the first null: JSON has it, no field here means anything by it,
// but for the variables of a job, which are any JSON.
func refuseNull(body []byte) error {
	if string(bytes.TrimSpace(body)) == "null" {
		return invalid("invalid JSON: want an object, not null")
	}
	if !bytes.Contains(body, []byte("null")) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	key, inObject, wantKey, free := "", []bool{}, false, 0 // free: how deep variables are
	for {
		token, err := d.Token()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return invalid("invalid JSON: %s", err)
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				inObject = append(inObject, t == '{')
				if free == 0 && t == '{' && key == "variables" {
					free = len(inObject)
				}
			} else {
				inObject = inObject[:len(inObject)-1]
				if len(inObject) < free {
					free, key = 0, ""
				}
			}
		case string:
			if wantKey {
				key, wantKey = t, false
				continue
			}
		case nil:
			if free > 0 {
				break
			}
			return invalid("invalid JSON: %q is null: leave it out or give it a value", key)
		}
		wantKey = len(inObject) > 0 && inObject[len(inObject)-1]
	}
}

func appendMessage(b []byte, m protoreflect.Message) ([]byte, error) {
	if m.Descriptor().ParentFile().Package() == "google.protobuf" {
		return protojson.MarshalOptions{}.MarshalAppend(b, m.Interface())
	}
	b = append(b, '{')
	fields := m.Descriptor().Fields()
	first := true
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, '"')
		b = append(b, f.JSONName()...)
		b = append(b, '"', ':')
		var err error
		switch {
		case f.IsMap():
			b, err = appendMap(b, f, m.Get(f).Map())
		case f.IsList():
			b, err = appendList(b, f, m.Get(f).List())
		default:
			b, err = appendValue(b, f, m.Get(f))
		}
		if err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendList(b []byte, f protoreflect.FieldDescriptor, list protoreflect.List) ([]byte, error) {
	b = append(b, '[')
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, f, list.Get(i)); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) ([]byte, error) {
	var keys []protoreflect.MapKey
	for k := range m.Range {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int { return strings.Compare(x.String(), y.String()) })
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k.String())
		b = append(b, ':')
		var err error
		if b, err = appendValue(b, f.MapValue(), m.Get(k)); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case protoreflect.DoubleKind:
		n := v.Float()
		if math.IsNaN(n) || math.IsInf(n, 0) {
			n = 0 // JSON has no such numbers
		}
		return strconv.AppendFloat(b, n, 'f', -1, 64), nil
	case protoreflect.StringKind:
		return appendString(b, v.String()), nil
	case protoreflect.BytesKind:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"'), nil
	case protoreflect.EnumKind:
		if name := f.Enum().Values().ByNumber(v.Enum()); name != nil {
			return appendString(b, string(name.Name())), nil
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10), nil
	case protoreflect.MessageKind:
		return appendMessage(b, v.Message())
	}
	return nil, fmt.Errorf("cannot write field %s: no JSON form for %s", f.FullName(), f.Kind())
}

// appendString leaves < > & as they are: nobody puts these replies in a page unescaped.
func appendString(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}
