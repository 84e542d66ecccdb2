package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// DecodeError says what is wrong with JSON in the words of its sender, who knows
// nothing of this program's types.
func DecodeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := map[reflect.Kind]string{
		reflect.String: "a text", reflect.Bool: "true or false", reflect.Slice: "a list", reflect.Struct: "an object", reflect.Map: "an object",
	}[wrong.Type.Kind()]
	if want == "" {
		want = "a number"
	}
	if wrong.Field == "" {
		return fmt.Errorf("%s is expected, not this %s", want, wrong.Value)
	}
	return fmt.Errorf("%s: %s is expected, not this %s", wrong.Field, want, wrong.Value)
}
