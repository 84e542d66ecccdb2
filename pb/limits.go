package pb

import (
	"math"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// Named lists the limits that are named, each as a text. An error is of a value that can't be one.
func (l *Limits) Named() (map[string]string, error) {
	named := map[string]string{}
	var failed error
	l.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		text := v.String()
		if field.Kind() == protoreflect.MessageKind {
			if text, failed = sizeText(v.Message().Interface().(*structpb.Value)); failed != nil {
				failed = invalid("spec.task.limits.%s: %s", field.JSONName(), failed)
				return false
			}
		}
		named[field.JSONName()] = text
		return true
	})
	return named, failed
}

// Name gives a limit the value that a text says. It returns false for a limit that there isn't, and
// for a text that its field can't hold.
func (l *Limits) Name(limit, text string) bool {
	m := l.ProtoReflect()
	field := m.Descriptor().Fields().ByJSONName(limit)
	switch {
	case field == nil:
		return false
	case field.Kind() == protoreflect.MessageKind:
		m.Set(field, protoreflect.ValueOfMessage(structpb.NewStringValue(text).ProtoReflect()))
	case field.Kind() == protoreflect.StringKind:
		m.Set(field, protoreflect.ValueOfString(text))
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return false
		}
		m.Set(field, protoreflect.ValueOfInt64(n))
	}
	return true
}

// CompileMemory is the bound of the compiler's memory as a text; empty if none is
// named.
func (l *Language) CompileMemory() (string, error) {
	text, err := sizeText(l.GetCompileMemoryMax())
	if err != nil {
		return "", invalid("spec.task.language.compileMemoryMax: %s", err)
	}
	return text, nil
}

// sizeText is a size in either of its forms. Empty: none is named.
func sizeText(v *structpb.Value) (string, error) {
	switch kind := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return "", nil
	case *structpb.Value_StringValue:
		return kind.StringValue, nil
	case *structpb.Value_NumberValue:
		n := kind.NumberValue
		if n >= 0 && n < math.MaxInt64 && n == math.Trunc(n) {
			return strconv.FormatInt(int64(n), 10), nil
		}
		return "", invalid("%v is not a number of bytes", n)
	}
	return "", invalid("it must be a number of bytes or a string such as \"64M\"")
}
