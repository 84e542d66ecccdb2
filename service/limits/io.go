package limits

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// device is the number of a block device.
type device struct{ major, minor uint32 }

// rates are a device's bounds by key, of which only those that were named are there.
type rates map[string]int64

// disk is bounds of several devices.
type disk map[device]rates

var ioKeys = []string{"rbps", "wbps", "riops", "wiops"}

// parseDisk reads lines of cgroup v2's io.max, such as "8:16 rbps=102400 wiops=max", parted by
// newlines, commas or semicolons. What is said of one device in several lines is put together; of a
// key that is named twice the last one counts, as it does for the kernel.
func parseDisk(s string) (disk, error) {
	all := disk{}
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == ',' || r == ';' }) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if err := all.read(fields); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q is not a device and its rates such as \"8:16 rbps=102400\"", s)
	}
	return all, nil
}

func (d disk) read(fields []string) error {
	if len(fields) < 2 {
		return errors.New(`it must be a device and its rates such as "8:16 rbps=102400"`)
	}
	major, minor, ok := strings.Cut(fields[0], ":")
	majorNumber, err1 := strconv.ParseUint(major, 10, 12)
	minorNumber, err2 := strconv.ParseUint(minor, 10, 20)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is not the number of a device such as 8:16", fields[0])
	}
	at := device{uint32(majorNumber), uint32(minorNumber)}
	if d[at] == nil {
		d[at] = rates{}
	}
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(field, "=")
		if !slices.Contains(ioKeys, key) {
			return fmt.Errorf("%q is not rbps, wbps, riops or wiops", key)
		}
		rate := int64(noLimit)
		if !isMax(value) {
			var err error
			if rate, err = ParseSize(value); err != nil || rate == 0 {
				return fmt.Errorf("%s: %q is not a rate", key, value)
			}
		}
		d[at][key] = rate
	}
	return nil
}

// lower holds d to most, and says whether a key that was named is lower than before. Devices and
// keys that d does not name are added: without a bound they would be above the maximum.
func (d disk) lower(most disk) (lowered bool) {
	for at, top := range most {
		if d[at] == nil {
			d[at] = rates{}
		}
		for key, rate := range top {
			now, named := d[at][key]
			if !named || now > rate {
				d[at][key] = rate
				lowered = lowered || named
			}
		}
	}
	return lowered
}

// bounds says whether any rate is bounded.
func (d disk) bounds() bool {
	for _, rates := range d {
		for _, rate := range rates {
			if rate != noLimit {
				return true
			}
		}
	}
	return false
}

// lines is one line a device, as the kernel takes them.
func (d disk) lines() (lines []string) {
	order := func(a, b device) int {
		return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
	}
	for _, at := range slices.SortedFunc(maps.Keys(d), order) {
		line := fmt.Sprintf("%d:%d", at.major, at.minor)
		for _, key := range ioKeys {
			rate, named := d[at][key]
			switch {
			case named && rate == noLimit:
				line += " " + key + "=" + maxWord
			case named:
				line += fmt.Sprintf(" %s=%d", key, rate)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func (d disk) String() string { return strings.Join(d.lines(), "\n") }
