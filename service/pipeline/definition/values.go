package definition

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
)

// Number is a variable that is not whole; it prints without an exponent.
type Number float64

func (n Number) String() string { return strconv.FormatFloat(float64(n), 'f', -1, 64) }

// MarshalJSON gives the number as it prints.
func (n Number) MarshalJSON() ([]byte, error) { return []byte(n.String()), nil }

// ReadVariables reads a job's variables, a JSON object. Numbers keep their
// digits: a whole one is an int64, or a uint64, or text where it fits neither;
// any other is a Number.
func ReadVariables(body []byte) (map[string]any, error) {
	if len(body) > MaxVariables {
		return nil, fmt.Errorf("cannot use variables: they have %d bytes, %d at most", len(body), MaxVariables)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return nil, fmt.Errorf("cannot read variables: %w", err)
	}
	if d.More() {
		return nil, errors.New("cannot read variables: more follows the object")
	}
	for name, value := range values {
		values[name] = plain(value)
	}
	if values == nil {
		values = map[string]any{}
	}
	return values, nil
}

// plain replaces json.Number by Go's own numbers, in place.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		return plainNumber(string(v))
	case map[string]any:
		for key, inner := range v {
			v[key] = plain(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = plain(inner)
		}
	}
	return value
}

func plainNumber(text string) any {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return u
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text // beyond a float's range
	}
	if f != math.Trunc(f) {
		return Number(f)
	}
	if math.Abs(f) <= 1<<53 {
		return int64(f) // 3.0, 1e3
	}
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	whole, ok := new(big.Float).SetPrec(4096).SetString(text)
	if !ok || !whole.IsInt() || whole.MantExp(nil) > 4000 {
		return Number(f)
	}
	return plainWhole(whole.Text('f', 0))
}

// plainWhole is a whole number that was written with an exponent.
func plainWhole(digits string) any {
	if i, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return u
	}
	return digits
}

// number is a value as an exact number, if it is one.
func number(value any) (*big.Float, bool) {
	v := reflect.ValueOf(value)
	f := new(big.Float).SetPrec(128)
	switch {
	case !v.IsValid():
		return nil, false
	case v.CanInt():
		return f.SetInt64(v.Int()), true
	case v.CanUint():
		return f.SetUint64(v.Uint()), true
	case v.CanFloat() && !math.IsNaN(v.Float()):
		return f.SetFloat64(v.Float()), true
	}
	return nil, false
}

// equal says whether a equals one of the others. Values of different kinds are
// not equal; lists and mappings can't be compared.
func equal(a any, others ...any) (bool, error) {
	if len(others) == 0 {
		return false, errors.New("eq needs two values")
	}
	for _, b := range others {
		x, xIsNumber := number(a)
		y, yIsNumber := number(b)
		if xIsNumber && yIsNumber {
			if x.Cmp(y) == 0 {
				return true, nil
			}
			continue
		}
		if !comparable(a) || !comparable(b) {
			return false, errors.New("lists and mappings can't be compared")
		}
		if a == b {
			return true, nil
		}
	}
	return false, nil
}

func comparable(v any) bool { return v == nil || reflect.TypeOf(v).Comparable() }

func compare(a, b any) (int, error) {
	x, xIsNumber := number(a)
	y, yIsNumber := number(b)
	if xIsNumber && yIsNumber {
		return x.Cmp(y), nil
	}
	s, sIsText := a.(string)
	t, tIsText := b.(string)
	if sIsText && tIsText {
		return cmp.Compare(s, t), nil
	}
	return 0, fmt.Errorf("can't compare %v with %v", a, b)
}

// printf takes whole numbers for %f and whole floats for %d, since a template's
// author may have either in mind.
func printf(format string, args ...any) string {
	args = append([]any(nil), args...)
	next := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		for i++; i < len(format) && strings.IndexByte("+-# 0123456789.[]*", format[i]) >= 0; i++ {
			if format[i] == '*' || format[i] == '[' {
				return fmt.Sprintf(format, args...) // widths as arguments: as they are
			}
		}
		if i == len(format) || format[i] == '%' {
			continue
		}
		if next < len(args) {
			args[next] = forVerb(format[i], args[next])
		}
		next++
	}
	return fmt.Sprintf(format, args...)
}

func forVerb(verb byte, arg any) any {
	n, isNumber := number(arg)
	if !isNumber {
		return arg
	}
	switch verb {
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, _ := n.Float64()
		return f
	case 'd', 'x', 'X', 'o', 'b', 'c', 'q', 'U':
		if i, exact := n.Int64(); n.IsInt() && exact == big.Exact {
			return i
		}
	}
	return arg
}
