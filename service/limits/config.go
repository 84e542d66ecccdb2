package limits

import (
	"fmt"
	"math"
	"strconv"
)

// UnmarshalYAML reads a set from a configuration.
func (s *Set) UnmarshalYAML(decode func(any) error) (err error) {
	var values map[string]any
	if err := decode(&values); err != nil {
		return err
	}
	*s, err = FromConfig(values)
	return err
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Set) MarshalYAML() (any, error) { return map[string]string(s.Text()), nil }

// FromConfig reads what a configuration has, where numbers may stand for texts, and a count or a
// duration of 0 for none. An error is an *Error.
func FromConfig(values map[string]any) (Set, error) {
	text := Text{}
	for name, value := range values {
		written, err := configText(value)
		if err != nil {
			return nil, &Error{name, err}
		}
		if row := rowOf(name); row != nil && (row.Kind == Count || row.Kind == Time) && (written == "0" || written == "0s") {
			continue
		}
		text[name] = written
	}
	return text.Parse()
}

func configText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int, int64, uint64:
		return fmt.Sprint(v), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10), nil
		}
	}
	return "", fmt.Errorf("%v is neither a whole number nor a text such as \"64M\"", value)
}
