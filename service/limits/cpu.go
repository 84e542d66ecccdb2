package limits

import (
	"fmt"
	"strings"
)

// CPU is processor time in a period, in microseconds, over all processors. A quota of 0 is no bound.
type CPU struct{ quota, period int64 }

// What the kernel accepts for cpu.max.
const (
	minCPUMicros      = 1_000
	maxCPUMicros      = 1_000_000
	defaultCPUPeriod  = 100_000
	maxCPUQuotaMicros = 1 << 40
)

// parseCPU reads cgroup v2's cpu.max: a quota, or "max", and a period, which is 100000 if it is left
// out. A quota under a millisecond, which the kernel refuses, is scaled up with its period.
func parseCPU(s string) (CPU, error) {
	bad := fmt.Errorf("%q is not a quota and a period in microseconds such as \"50000 100000\"", s)
	fields := strings.Fields(s)
	if len(fields) < 1 || len(fields) > 2 {
		return CPU{}, bad
	}
	period := int64(defaultCPUPeriod)
	if len(fields) == 2 {
		var err error
		if period, err = parseCount(fields[1], minCPUMicros, maxCPUMicros); err != nil {
			return CPU{}, fmt.Errorf("period %w", err)
		}
	}
	if isMax(fields[0]) {
		return CPU{}, nil
	}
	quota, err := parseCount(fields[0], 1, maxCPUQuotaMicros)
	if err != nil {
		return CPU{}, bad
	}
	if quota < minCPUMicros {
		scale := (minCPUMicros + quota - 1) / quota
		quota, period = quota*scale, period*scale
		if period > maxCPUMicros {
			return CPU{}, fmt.Errorf("%q is less than the kernel can do: 1000 in 1000000 microseconds", s)
		}
	}
	return CPU{quota, period}, nil
}

// isAbove compares exactly: the products fit, as a quota has 41 bits and a period 20.
func (c CPU) isAbove(most CPU) bool {
	switch {
	case most.quota == 0:
		return false
	case c.quota == 0:
		return true
	}
	return c.quota*most.period > most.quota*c.period
}

func (c CPU) String() string {
	if c.quota == 0 {
		return maxWord
	}
	return fmt.Sprintf("%d %d", c.quota, c.period)
}
