package api

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/runnel-io/runnel/pb"
)

// message is one of pb's in a reply, in its JSON form; the schema is its own.
type message[M proto.Message] struct{ is M }

// MarshalJSON writes pb's form.
func (m message[M]) MarshalJSON() ([]byte, error) { return pb.MarshalJSON(m.is) }

// Schema is huma.SchemaProvider.
func (message[M]) Schema(r huma.Registry) *huma.Schema {
	var none M
	return describe(r, none.ProtoReflect().Descriptor(), false)
}

// asked is one of pb's in a request: nothing of it is required.
type asked[M proto.Message] struct{ is M }

// UnmarshalJSON reads strictly.
func (a *asked[M]) UnmarshalJSON(body []byte) error {
	var none M
	a.is = none.ProtoReflect().Type().New().Interface().(M)
	return pb.UnmarshalJSON(body, a.is)
}

// Schema is huma.SchemaProvider.
func (asked[M]) Schema(r huma.Registry) *huma.Schema {
	var none M
	return describe(r, none.ProtoReflect().Descriptor(), true)
}

// raw is JSON of a kind that was encoded before.
type raw[M proto.Message] []byte

// MarshalJSON is the text.
func (m raw[M]) MarshalJSON() ([]byte, error) { return m, nil }

// Schema is huma.SchemaProvider.
func (raw[M]) Schema(r huma.Registry) *huma.Schema { return message[M]{}.Schema(r) }

var _ json.Marshaler = raw[*pb.Run]{}

// describe gives a reference to the schema of a message.
func describe(r huma.Registry, d protoreflect.MessageDescriptor, request bool) *huma.Schema {
	name := string(d.Name())
	if request {
		name += "Request"
	}
	ref := &huma.Schema{Ref: "#/components/schemas/" + name}
	if _, known := r.Map()[name]; known {
		return ref
	}
	s := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}, AdditionalProperties: false}
	r.Map()[name] = s // before its fields: a message may have itself in it
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		s.Properties[f.JSONName()] = describeField(r, f, request)
		if !request && !f.HasPresence() {
			s.Required = append(s.Required, f.JSONName())
		}
	}
	s.PrecomputeMessages()
	return ref
}

func describeField(r huma.Registry, f protoreflect.FieldDescriptor, request bool) *huma.Schema {
	switch {
	case f.IsMap():
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: describeValue(r, f.MapValue(), request)}
	case f.IsList():
		return &huma.Schema{Type: huma.TypeArray, Items: describeValue(r, f, request)}
	}
	return describeValue(r, f, request)
}

func describeValue(r huma.Registry, f protoreflect.FieldDescriptor, request bool) *huma.Schema {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return &huma.Schema{Type: huma.TypeBoolean}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return &huma.Schema{Type: huma.TypeInteger, Format: f.Kind().String()}
	case protoreflect.DoubleKind:
		return &huma.Schema{Type: huma.TypeNumber, Format: "double"}
	case protoreflect.BytesKind:
		return &huma.Schema{Type: huma.TypeString, ContentEncoding: "base64"}
	case protoreflect.EnumKind:
		s := &huma.Schema{Type: huma.TypeString}
		for i := range f.Enum().Values().Len() {
			s.Enum = append(s.Enum, string(f.Enum().Values().Get(i).Name()))
		}
		return s
	case protoreflect.MessageKind:
		switch f.Message().FullName() {
		case "google.protobuf.Timestamp":
			return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
		case "google.protobuf.Value":
			return &huma.Schema{}
		case "google.protobuf.Struct":
			return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
		}
		return describe(r, f.Message(), request)
	}
	return &huma.Schema{Type: huma.TypeString}
}
