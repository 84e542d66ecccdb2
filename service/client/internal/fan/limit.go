package fan

import (
	"fmt"
	"strconv"
	"strings"
)

// Limit takes the first of the names: so many ("10") or such a share of them
// ("25%"). Empty: all.
func Limit(names []string, limit string) ([]string, error) {
	if limit == "" {
		return names, nil
	}
	n, err := parseLimit(limit, len(names))
	return names[:min(n, len(names))], err
}

// parseLimit reads "N" or "N%" of a number of runners; any share of some is at
// least one.
func parseLimit(s string, of int) (int, error) {
	number, isShare := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n <= 0 || isShare && n > 100:
		return 0, fmt.Errorf("cannot use limit %q: it must be a number such as 10 or a share such as 25%%", s)
	case isShare:
		return max(1, of*n/100), nil
	}
	return n, nil
}
