package pb

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Request is what the five request messages have in common.
type Request interface {
	proto.Message
	GetApiVersion() string
	GetKind() string
	GetMetadata() *Metadata
	// Validate returns an *InvalidError, naming the field, for what the request
	// alone shows to be wrong.
	Validate() error
}

// InvalidError says what is wrong with a request: a 400.
type InvalidError struct{ text string }

func (e *InvalidError) Error() string { return e.text }

func invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...)}
}

// Invalid is an *InvalidError for what only a runner can see in a request.
func Invalid(format string, args ...any) error { return invalid(format, args...) }

// DecodeRequest reads and validates a request: protobuf if isProtobuf, else JSON.
func DecodeRequest(body []byte, isProtobuf bool, into Request) error {
	if isProtobuf {
		if err := proto.Unmarshal(body, into); err != nil {
			if field := fieldNotUTF8(body, into.ProtoReflect().Descriptor(), 0); field != "" {
				return invalid("invalid protobuf: %s: it is not UTF-8", field)
			}
			return invalid("invalid protobuf: %s", tidy(err))
		}
		if err := refuseUnknown(into.ProtoReflect()); err != nil {
			return err
		}
	} else if err := UnmarshalJSON(body, into); err != nil {
		return err
	}
	if r, ok := into.(*TaskRequest); ok {
		r.GetSpec().GetTask().passOverEmpty()
	}
	return into.Validate()
}

// refuseUnknown names the first field that this version doesn't have, as JSON
// does: the caller may rely on it. A reserved one was the old runner's, and is
// passed over.
func refuseUnknown(m protoreflect.Message) (err error) {
	for raw := m.GetUnknown(); len(raw) > 0; {
		number, _, length := protowire.ConsumeField(raw)
		if !m.Descriptor().ReservedRanges().Has(number) {
			return invalid("invalid protobuf: %s has no field %d here", m.Descriptor().Name(), number)
		}
		raw = raw[length:]
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap(): // no map of ours has messages
		case f.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = refuseUnknown(v.List().Get(i).Message())
			}
		default:
			err = refuseUnknown(v.Message())
		}
		return err == nil
	})
	return err
}

// DecodeReply reads what a runner answered, perhaps one of a later version:
// fields that this one doesn't know are passed over.
func DecodeReply(body []byte, isProtobuf bool, into Message) error {
	if !isProtobuf {
		return UnmarshalRecord(body, into)
	}
	if err := proto.Unmarshal(body, into); err != nil {
		return fmt.Errorf("cannot read %s: %s", into.ProtoReflect().Descriptor().Name(), tidy(err))
	}
	return nil
}

// Encode gives a reply in the form its request came in.
func Encode(m proto.Message, isProtobuf bool) ([]byte, error) {
	if isProtobuf {
		return proto.Marshal(m)
	}
	return MarshalJSON(m)
}

func validateEnvelope(r Request) error {
	if r.GetKind() != Kind {
		return invalid("invalid kind: it is %q and must be %q", r.GetKind(), Kind)
	}
	if v := r.GetApiVersion(); v != "" && v != APIVersion {
		return invalid("invalid apiVersion: it is %q and must be %q", v, APIVersion)
	}
	return nil
}

// Duration reads a duration field such as "90s": Go's form, with a unit, not
// negative. Empty is the default.
func Duration(field, s string, byDefault time.Duration) (time.Duration, error) {
	if s == "" {
		return byDefault, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || s == "0" || s == "+0" || s == "-0" {
		return 0, invalid("%s: %q is not a duration with a unit, such as \"90s\" or \"1h30m\"", field, s)
	}
	if d < 0 {
		return 0, invalid("%s: %q is negative", field, s)
	}
	return d, nil
}

// Longest times that a reply may be held back.
const (
	MaxWait          = 30 * time.Second
	DefaultAbortWait = 2 * time.Second
)

// Validate: see Request.
func (r *QueryRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	q := r.GetSpec().GetQuery()
	if q == nil {
		return invalid("spec.query is missing")
	}
	if q.GetLimit() < 0 {
		return invalid("spec.query.limit: %d is negative", q.GetLimit())
	}
	for i, s := range q.GetStates() {
		if _, ok := State_name[int32(s)]; !ok {
			return invalid("spec.query.states[%d]: no state has the number %d", i, s)
		}
	}
	_, err := q.WaitTime()
	return err
}

// WaitTime is how long to wait for a first match, 30 s at most.
func (q *Query) WaitTime() (time.Duration, error) {
	d, err := Duration("spec.query.wait", q.GetWait(), 0)
	return min(d, MaxWait), err
}

// Validate: see Request.
func (r *AbortRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	a := r.GetSpec().GetAbort()
	if a == nil {
		return invalid("spec.abort is missing")
	}
	if a.GetRun() == "" {
		return invalid("spec.abort.run is missing")
	}
	_, err := a.WaitTime()
	return err
}

// WaitTime is how long to wait for the end, 2 s by default and 30 s at most.
func (a *Abort) WaitTime() (time.Duration, error) {
	d, err := Duration("spec.abort.wait", a.GetWait(), DefaultAbortWait)
	return min(d, MaxWait), err
}

// Validate: see Request.
func (r *GlanceRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	glance := r.GetSpec().GetGlance()
	switch {
	case glance == nil:
		return invalid("spec.glance is missing")
	case glance.GetDir().GetPath() != "" && len(glance.GetDir().GetPathBytes()) > 0:
		return invalid("spec.glance.dir has both path and pathBytes")
	case glance.GetFile().GetPath() != "" && len(glance.GetFile().GetPathBytes()) > 0:
		return invalid("spec.glance.file has both path and pathBytes")
	}
	return nil
}

// Validate: see Request.
func (r *MaintRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	if r.GetSpec().GetMaint() == nil {
		return invalid("spec.maint is missing")
	}
	return nil
}

// Message is any message of this package.
type Message = proto.Message
