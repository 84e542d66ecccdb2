package limits

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// noLimit is the number of a limit that was named and bounds nothing. It is above every other one.
const noLimit = math.MaxInt64

const maxWord = "max"

// isMax: "max" is cgroup v2's word, "unlimited" that of setrlimit and ulimit.
func isMax(s string) bool { return s == maxWord || s == "unlimited" }

func (r *Row) parseNumber(s string) (n int64, err error) {
	if isMax(s) {
		return noLimit, nil
	}
	switch r.Kind {
	case Size:
		n, err = ParseSize(s)
		if err == nil && n < r.Least {
			err = fmt.Errorf("it must be more than 0")
		}
	case Time:
		n, err = parseTime(s, time.Duration(r.Least))
	default:
		n, err = parseCount(s, r.Least, r.Most)
	}
	return n, err
}

// ParseSize reads a number of bytes: digits, then nothing or one of K, M, G, T, P in either case,
// which stand for powers of 1024. "64MiB" and "64MB" are "64M".
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKmMgGtTpPiIbB")
	unit := strings.ToUpper(s[len(digits):])
	shift, known := map[string]uint{
		"": 0, "B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20, "G": 30, "GB": 30, "GIB": 30,
		"T": 40, "TB": 40, "TIB": 40, "P": 50, "PB": 50, "PIB": 50,
	}[unit]
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case !known || !isDigits(digits):
		return 0, fmt.Errorf("%q is not a number of bytes such as 67108864 or \"64M\"", s)
	case err != nil || n >= noLimit>>shift:
		return 0, fmt.Errorf("%q is too big; for no limit write \"max\"", s)
	}
	return int64(n) << shift, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func parseCount(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !isDigits(s) || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}

func parseTime(s string, least time.Duration) (int64, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil || isDigits(strings.TrimLeft(s, "+-")):
		return 0, fmt.Errorf("%q is not a duration with a unit such as \"90s\"", s)
	case d < 0:
		return 0, fmt.Errorf("%q is negative", s)
	case d < least:
		return 0, fmt.Errorf("%q is less than %s", s, least)
	case d == noLimit:
		return 0, fmt.Errorf("%q is too long; for no limit write \"max\"", s)
	}
	return int64(d), nil
}

func formatNumber(kind Kind, n int64) string {
	if kind == Time {
		return time.Duration(n).String()
	}
	return strconv.FormatInt(n, 10)
}
