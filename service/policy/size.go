package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes; in a configuration a number, or a string such as
// "64M" (powers of 1024).
type Size int64

// UnmarshalYAML reads a size from a configuration.
func (s *Size) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	n, err := ParseSize(fmt.Sprint(v))
	*s = Size(n)
	return err
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Size) MarshalYAML() (any, error) { return int64(s), nil }

// ParseSize reads a number of bytes: digits, then nothing or one of K, M, G, T,
// P, which stand for powers of 1024. "64MiB" and "64MB" are "64M".
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKmMgGtTpPiB")
	unit := strings.TrimSuffix(strings.TrimSuffix(s[len(digits):], "B"), "i")
	shift, ok := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}[strings.ToUpper(unit)]
	if n, err := strconv.ParseUint(digits, 10, 63); err == nil && ok && n <= math.MaxInt64>>shift {
		return int64(n) << shift, nil
	}
	return 0, fmt.Errorf("%q is not a number of bytes such as 67108864 or \"64M\"", s)
}
