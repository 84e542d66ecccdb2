package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
)

// Limits has the fields and the forms of a task's limits.
type Limits struct {
	CPUMax      string        `yaml:"cpuMax,omitempty"`
	MemoryMax   *Size         `yaml:"memoryMax,omitempty"`
	IOMax       string        `yaml:"ioMax,omitempty"`
	PidsMax     int64         `yaml:"pidsMax,omitempty"`
	CPUWeight   int64         `yaml:"cpuWeight,omitempty"`
	CPUTime     time.Duration `yaml:"cpuTime,omitempty"`
	FileSize    *Size         `yaml:"fileSize,omitempty"`
	OpenFiles   int64         `yaml:"openFiles,omitempty"`
	Stack       *Size         `yaml:"stack,omitempty"`
	Core        *Size         `yaml:"core,omitempty"`
	Nproc       int64         `yaml:"nproc,omitempty"`
	OutputBytes *Size         `yaml:"outputBytes,omitempty"`
	WallTime    time.Duration `yaml:"wallTime,omitempty"`
}

func (r *LimitRules) isZero() bool { return *r == LimitRules{} }

// Named lists the limits that the rules name, by their names in a task, as far as a
// host may not be able to hold a run to them.
func (r *LimitRules) Named() (names []string) {
	for _, l := range []struct {
		name  string
		named bool
	}{
		{"cpuMax", r.Default.CPUMax != "" || r.Max.CPUMax != ""}, {"cpuWeight", r.Default.CPUWeight != 0 || r.Max.CPUWeight != 0},
		{"memoryMax", r.Default.MemoryMax != nil || r.Max.MemoryMax != nil}, {"ioMax", r.Default.IOMax != "" || r.Max.IOMax != ""},
		{"pidsMax", r.Default.PidsMax != 0 || r.Max.PidsMax != 0},
	} {
		if l.named {
			names = append(names, l.name)
		}
	}
	return names
}

func (l *Limits) validate() error {
	if _, err := cpuShare(l.CPUMax); err != nil {
		return fmt.Errorf("cpuMax: %w", err)
	}
	if _, err := parseIOMax(l.IOMax); err != nil {
		return fmt.Errorf("ioMax: %w", err)
	}
	if l.CPUWeight != 0 && (l.CPUWeight < 1 || l.CPUWeight > 10000) {
		return fmt.Errorf("cpuWeight: %d is not in 1 to 10000", l.CPUWeight)
	}
	if l.PidsMax < 0 || l.OpenFiles < 0 || l.Nproc < 0 || l.CPUTime < 0 || l.WallTime < 0 {
		return fmt.Errorf("pidsMax, openFiles, nproc, cpuTime and wallTime must not be negative")
	}
	if l.CPUTime%time.Second != 0 {
		return fmt.Errorf("cpuTime: %s is not a number of whole seconds", l.CPUTime)
	}
	for _, size := range []struct {
		name string
		size *Size
	}{{"memoryMax", l.MemoryMax}, {"stack", l.Stack}, {"outputBytes", l.OutputBytes}} {
		if size.size != nil && *size.size == 0 {
			return fmt.Errorf("%s: it must be more than 0", size.name)
		}
	}
	if l.OpenFiles > 0 && l.OpenFiles < 3 {
		return fmt.Errorf("openFiles: %d is less than the 3 that every process has", l.OpenFiles)
	}
	return nil
}

func bytesOf(s *Size) int64 {
	if s == nil {
		return 0
	}
	return int64(*s)
}

// capper fills in and lowers one value after another, and keeps the first error.
type capper struct {
	// holds says whether this host can hold a run to a limit: what the task has not
	// named is filled in only then. nil: to all.
	holds   func(limit string) bool
	lowered []string
	err     error
}

func (c *capper) limits(l *pb.Limits, r *LimitRules) {
	def, most := &r.Default, &r.Max
	c.cpuMax(&l.CpuMax, def.CPUMax, most.CPUMax)
	c.size("memoryMax", &l.MemoryMax, def.MemoryMax, most.MemoryMax)
	c.ioMax(&l.IoMax, def.IOMax, most.IOMax)
	c.count("pidsMax", &l.PidsMax, def.PidsMax, most.PidsMax)
	c.count("cpuWeight", &l.CpuWeight, def.CPUWeight, most.CPUWeight)
	c.duration("limits.cpuTime", &l.CpuTime, def.CPUTime, most.CPUTime)
	c.size("fileSize", &l.FileSize, def.FileSize, most.FileSize)
	c.count("openFiles", &l.OpenFiles, def.OpenFiles, most.OpenFiles)
	c.size("stack", &l.Stack, def.Stack, most.Stack)
	c.size("core", &l.Core, def.Core, most.Core)
	c.count("nproc", &l.Nproc, def.Nproc, most.Nproc)
	c.size("outputBytes", &l.OutputBytes, def.OutputBytes, most.OutputBytes)
	c.duration("limits.wallTime", &l.WallTime, def.WallTime, most.WallTime)
}

func (c *capper) failed(field string, err error) {
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("spec.task.%s: %w", field, err)
	}
}

func (c *capper) note(field string, from, to any) {
	c.lowered = append(c.lowered, fmt.Sprintf("%s lowered from %v to %v", field, from, to))
}

func (c *capper) mayFillIn(limit string) bool { return c.holds == nil || c.holds(limit) }

// count: 0 stands for "none" in the policy; in a task it is a value.
func (c *capper) count(name string, v **int64, def, most int64) {
	if *v != nil {
		if **v > 0 {
			c.integer("limits."+name, *v, 0, most)
		}
		return
	}
	var n int64
	c.integer("limits."+name, &n, def, most)
	if n != 0 && c.mayFillIn(name) {
		*v = &n
	}
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

func (c *capper) duration(field string, v *string, def, most time.Duration) {
	asked := time.Duration(0)
	if *v != "" {
		var err error
		if asked, err = time.ParseDuration(*v); err != nil {
			c.failed(field, fmt.Errorf("%q is not a duration with a unit, such as \"90s\"", *v))
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

// size: null and "" stand for "not named"; 0 is a value, such as no core at all.
func (c *capper) size(name string, v **structpb.Value, def, most *Size) {
	field := "limits." + name
	asked, named, err := sizeValue(*v)
	if err != nil {
		c.failed(field, err)
		return
	}
	switch {
	case named && (most == nil || asked <= int64(*most)), !named && !c.mayFillIn(name):
		return
	case named:
		c.note(field, asked, int64(*most))
		*v = structpb.NewNumberValue(float64(*most))
	case def != nil && (most == nil || *def <= *most):
		*v = structpb.NewNumberValue(float64(*def))
	case most != nil:
		*v = structpb.NewNumberValue(float64(*most))
	}
}

func sizeValue(v *structpb.Value) (n int64, named bool, err error) {
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return 0, false, nil
	case *structpb.Value_NumberValue:
		f := k.NumberValue
		if f < 0 || f >= math.MaxInt64 || f != math.Trunc(f) {
			return 0, false, fmt.Errorf("%v is not a number of bytes", f)
		}
		return int64(f), true, nil
	case *structpb.Value_StringValue:
		if k.StringValue == "" {
			return 0, false, nil
		}
		n, err := ParseSize(k.StringValue)
		return n, true, err
	}
	return 0, false, fmt.Errorf("must be a number of bytes or a string such as \"64M\"")
}

func (c *capper) cpuMax(v *string, def, most string) {
	asked := *v
	if *v == "" {
		if !c.mayFillIn("cpuMax") {
			return
		}
		*v = def
	}
	share, err := cpuShare(*v)
	if err != nil {
		c.failed("limits.cpuMax", err)
		return
	}
	if top, _ := cpuShare(most); share > top {
		*v = most
		if asked != "" {
			c.note("limits.cpuMax", strconv.Quote(asked), strconv.Quote(most))
		}
	}
}

// cpuShare reads cgroup v2's cpu.max, "QUOTA [PERIOD]", as a number of CPUs;
// "max" and "" are without end.
func cpuShare(s string) (float64, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 && s == "" {
		return math.Inf(1), nil
	}
	period := 100000.0
	bad := fmt.Errorf("%q is not \"QUOTA PERIOD\" in microseconds, such as \"50000 100000\"", s)
	switch len(fields) {
	case 1:
	case 2:
		n, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil || n == 0 {
			return 0, bad
		}
		period = float64(n)
	default:
		return 0, bad
	}
	if fields[0] == "max" {
		return math.Inf(1), nil
	}
	quota, err := strconv.ParseUint(fields[0], 10, 63)
	if err != nil || quota == 0 {
		return 0, bad
	}
	return float64(quota) / period, nil
}
