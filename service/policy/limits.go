package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/limits"
)

// LimitRules of runs.
type LimitRules struct {
	// Default of what a task doesn't name.
	Default limits.Set
	// Max is what a run gets at most, also when its task names nothing.
	Max limits.Set
}

// UnmarshalYAML reads the rules from a configuration; an error names the key.
func (r *LimitRules) UnmarshalYAML(decode func(any) error) error {
	var written struct {
		Default map[string]any `yaml:"default"`
		Max     map[string]any `yaml:"max"`
	}
	if err := decode(&written); err != nil {
		return err
	}
	var err1, err2 error
	r.Default, err1 = limits.FromConfig(written.Default)
	r.Max, err2 = limits.FromConfig(written.Max)
	for key, err := range map[string]error{"default": err1, "max": err2} {
		if bad := (*limits.Error)(nil); errors.As(err, &bad) {
			return fmt.Errorf("policy.limits.%s.%s: %w", key, bad.Name, bad.Err)
		}
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (r LimitRules) MarshalYAML() (any, error) {
	return map[string]limits.Text{"default": r.Default.Text(), "max": r.Max.Text()}, nil
}

// IsZero says that there are no rules.
func (r LimitRules) IsZero() bool { return len(r.Default) == 0 && len(r.Max) == 0 }

// Named lists the limits that the rules name, by their names in a task.
func (r *LimitRules) Named() (names []string) {
	for _, name := range limits.Names() {
		if r.Default.Has(name) || r.Max.Has(name) {
			names = append(names, name)
		}
	}
	return names
}

// Size is a number of bytes; in a configuration a number, or a string such as
// "64M" (powers of 1024).
type Size int64

// UnmarshalYAML reads a size from a configuration.
func (s *Size) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	n, err := limits.ParseSize(fmt.Sprint(v))
	*s = Size(n)
	return err
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Size) MarshalYAML() (any, error) { return int64(s), nil }

func bytesOf(s *Size) int64 {
	if s == nil {
		return 0
	}
	return int64(*s)
}

// applyLimits fills in and lowers a task's limits. What the task has not named is
// filled in only where the host can hold a run to it.
func (r *LimitRules) applyLimits(l *pb.Limits, holds func(limit string) bool) (lowered []string, err error) {
	named, err := l.Named()
	if err != nil {
		return nil, err
	}
	asked, err := limits.Text(named).Parse()
	if err != nil {
		return nil, fmt.Errorf("spec.task.%w", err)
	}
	may := func(limit string) bool {
		_, named := asked[limit]
		return named || holds == nil || holds(limit)
	}
	given, changes := asked.Over(r.Default.Only(may)).Lower(r.Max.Only(may))
	for name, v := range given {
		if before, named := asked[name]; named && before == v {
			continue // as it was spelled
		}
		if !l.Name(name, v.String()) {
			return nil, fmt.Errorf("spec.task.limits.%s: a task can't name %q", name, v)
		}
	}
	for _, c := range changes {
		if _, named := asked[c.Name]; named { // not a default that is above the maximum
			lowered = append(lowered, c.String())
		}
	}
	return lowered, nil
}

// capper lowers one value after another, and keeps the first error.
type capper struct {
	lowered []string
	err     error
}

func (c *capper) note(field string, from, to any) {
	c.lowered = append(c.lowered, fmt.Sprintf("%s lowered from %v to %v", field, from, to))
}

// integer: 0 stands for "not named", on either side. A negative number is left
// for whoever validates it.
func (c *capper) integer(field string, v *int64, def, most int64) {
	asked := *v
	if *v == 0 {
		*v = def
	}
	if most > 0 && (*v == 0 || *v > most) {
		*v = most
	}
	if asked > *v {
		c.note(field, asked, *v)
	}
}

// grace: a task that names none has a default of its own.
func (c *capper) grace(t *pb.Task, most time.Duration) {
	asked, err := pb.Duration("spec.task.grace", t.GetGrace(), t.DefaultGrace())
	if err != nil && c.err == nil {
		c.err = err
	}
	if err != nil || asked <= most {
		return
	}
	if t.GetGrace() != "" {
		c.note("grace", asked, most)
	}
	t.Grace = most.String()
}

func (c *capper) duration(field string, v *string, def, most time.Duration) {
	asked := time.Duration(0)
	if *v != "" {
		var err error
		if asked, err = time.ParseDuration(*v); err != nil {
			if c.err == nil {
				c.err = fmt.Errorf("spec.task.%s: %q is not a duration with a unit, such as \"90s\"", field, *v)
			}
			return
		}
	}
	d := asked
	if d == 0 {
		d = def
	}
	if most > 0 && (d == 0 || d > most) {
		d = most
	}
	if d == asked {
		return
	}
	if asked > d {
		c.note(field, asked, d)
	}
	*v = d.String()
}
