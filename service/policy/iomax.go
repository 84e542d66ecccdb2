package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ioLimit is one line of cgroup v2's io.max: a device and what of it.
type ioLimit struct {
	device string
	rates  map[string]uint64
}

var ioKeys = []string{"rbps", "wbps", "riops", "wiops"}

// parseIOMax reads lines such as "8:16 rbps=102400 wiops=max".
func parseIOMax(s string) ([]ioLimit, error) {
	var all []ioLimit
	for line := range strings.SplitSeq(s, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		l := ioLimit{device: fields[0], rates: map[string]uint64{}}
		major, minor, _ := strings.Cut(l.device, ":")
		_, err1 := strconv.ParseUint(major, 10, 32)
		_, err2 := strconv.ParseUint(minor, 10, 32)
		if err1 != nil || err2 != nil || len(fields) == 1 {
			return nil, fmt.Errorf("%q is not \"MAJOR:MINOR KEY=RATE …\", such as \"8:16 rbps=102400\"", line)
		}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, "=")
			rate, err := strconv.ParseUint(value, 10, 63)
			if value == "max" {
				rate, err = math.MaxUint64, nil
			}
			if err != nil || !slices.Contains(ioKeys, key) {
				return nil, fmt.Errorf("%q is not one of rbps, wbps, riops, wiops with a rate", f)
			}
			l.rates[key] = rate
		}
		all = append(all, l)
	}
	return all, nil
}

func formatIOMax(all []ioLimit) string {
	var lines []string
	for _, l := range all {
		line := l.device
		for _, key := range ioKeys {
			switch rate, ok := l.rates[key]; {
			case ok && rate == math.MaxUint64:
				line += " " + key + "=max"
			case ok:
				line += fmt.Sprintf(" %s=%d", key, rate)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// ioMax keeps a task's limits where they are lower, and adds the policy's
// devices and keys that the task doesn't name. A line a device.
func (c *capper) ioMax(v *string, def, most string) {
	asked := *v
	if *v == "" {
		if !c.mayFillIn("ioMax") {
			return
		}
		*v = def
	}
	limits, err := parseIOMax(*v)
	if err != nil {
		c.failed("limits.ioMax", err)
		return
	}
	caps, _ := parseIOMax(most)
	if len(caps) == 0 {
		return
	}
	lowered := false
	for _, top := range caps {
		i := slices.IndexFunc(limits, func(l ioLimit) bool { return l.device == top.device })
		if i < 0 {
			limits = append(limits, top)
			continue
		}
		for key, rate := range top.rates {
			now, named := limits[i].rates[key]
			if !named || now > rate {
				limits[i].rates[key] = rate
				lowered = lowered || named
			}
		}
	}
	*v = formatIOMax(limits)
	if lowered && asked != "" {
		c.note("limits.ioMax", strconv.Quote(asked), strconv.Quote(*v))
	}
}
