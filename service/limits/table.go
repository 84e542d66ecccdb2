package limits

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Kind is the kind of a limit's value, which decides how it is read, compared and written.
type Kind int

// The kinds.
const (
	Size      Kind = iota // bytes: 65536 or "64M"
	Count                 // a number
	Time                  // a duration: "90s"
	Processor             // cgroup v2's cpu.max: "50000 100000"
	Disk                  // cgroup v2's io.max: "8:16 rbps=102400"
)

// Names of the limits, as a task spells them.
const (
	CPUMax      = "cpuMax"
	CPUWeight   = "cpuWeight"
	MemoryMax   = "memoryMax"
	IOMax       = "ioMax"
	PidsMax     = "pidsMax"
	CPUTime     = "cpuTime"
	FileSize    = "fileSize"
	OpenFiles   = "openFiles"
	Stack       = "stack"
	Core        = "core"
	Nproc       = "nproc"
	OutputBytes = "outputBytes"
	WallTime    = "wallTime"
)

// Row is one limit.
type Row struct {
	// Name in a task, in a policy and in a language's limits.
	Name string
	Kind Kind
	// Controller is the cgroup controller that holds a whole run to it, or empty; File
	// is the cgroup's file that has the limit.
	Controller, File string
	// Resource is the resource limit that holds each process to it, or empty.
	Resource string
	// Flag and Usage are those of the command line.
	Flag, Usage string
	// Least and Most bound a Size, Count or Time (nanoseconds).
	Least, Most int64
	// Unset is what the kernel gives a run that names nothing; 0 means no bound.
	Unset int64
}

var table = []Row{
	{Name: CPUMax, Kind: Processor, Controller: "cpu", File: "cpu.max", Flag: "cpu-max",
		Usage: "processor time: `\"QUOTA PERIOD\"` in microseconds, such as \"50000 100000\""},
	{Name: CPUWeight, Kind: Count, Controller: "cpu", File: "cpu.weight", Flag: "cpu-weight", Least: 1, Most: 10000, Unset: 100,
		Usage: "its share among others: `N` from 1 to 10000"},
	{Name: MemoryMax, Kind: Size, Controller: "memory", File: "memory.max", Flag: "memory-max", Least: 1, Most: math.MaxInt64,
		Usage: "memory: `BYTES`, or 64M; more ends the run, out of memory"},
	{Name: IOMax, Kind: Disk, Controller: "io", File: "io.max", Flag: "io-max",
		Usage: "its disk traffic: `\"8:16 wbps=1048576\"`, several separated by commas"},
	{Name: PidsMax, Kind: Count, Controller: "pids", File: "pids.max", Flag: "pids-max", Least: 1, Most: 1 << 22,
		Usage: "processes and threads: `N`"},
	{Name: CPUTime, Kind: Time, Resource: "cpu", Flag: "cpu-time", Least: int64(1e6), Most: math.MaxInt64,
		Usage: "processor time of the whole run: `DURATION`; more ends the run"},
	{Name: FileSize, Kind: Size, Resource: "fsize", Flag: "file-size", Most: math.MaxInt64,
		Usage: "a file that it writes: `BYTES`, or 64M"},
	{Name: OpenFiles, Kind: Count, Resource: "nofile", Flag: "open-files", Least: 3, Most: math.MaxInt32,
		Usage: "open files of a process: `N`"},
	{Name: Stack, Kind: Size, Resource: "stack", Flag: "stack", Least: 1, Most: math.MaxInt64,
		Usage: "a stack: `BYTES`, or 8M"},
	{Name: Core, Kind: Size, Resource: "core", Flag: "core", Most: math.MaxInt64,
		Usage: "a core dump: `BYTES`, or 64M"},
	{Name: Nproc, Kind: Count, Resource: "nproc", Flag: "nproc", Least: 1, Most: math.MaxInt32,
		Usage: "processes of its account: `N`"},
	{Name: OutputBytes, Kind: Size, Flag: "output-bytes", Least: 1, Most: math.MaxInt64,
		Usage: "output: `BYTES`, or 64M; more ends the run"},
	{Name: WallTime, Kind: Time, Flag: "wall-time", Least: 1, Most: math.MaxInt64,
		Usage: "time: `DURATION`; the shorter of this and --timeout counts"},
}

// Rows is the table.
func Rows() []Row { return slices.Clone(table) }

// Names lists the limits in the table's order.
func Names() (names []string) {
	for _, r := range table {
		names = append(names, r.Name)
	}
	return names
}

func rowOf(name string) *Row {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// Text is limits as they are written, by name. An empty text names nothing.
type Text map[string]string

// Set is limits that have been read, by name. It has only those that were named.
type Set map[string]Value

// Value is one limit's. Its String is how Parse reads it again.
type Value struct {
	kind   Kind
	n      int64 // of a Size, Count or Time; noLimit is no bound
	cpu    CPU
	device string // canonical text of disk, so that values can be compared
}

// Error is a limit that can't be read.
type Error struct {
	// Name of the limit.
	Name string
	Err  error
}

func (e *Error) Error() string { return "limits." + e.Name + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Parse reads limits. An error is an *Error, of the first one in the table's order.
func (t Text) Parse() (Set, error) {
	set := Set{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if rowOf(name) == nil {
			return nil, &Error{name, fmt.Errorf("no such limit; there are %s", strings.Join(Names(), ", "))}
		}
	}
	for _, row := range table {
		if t[row.Name] == "" {
			continue
		}
		v, err := row.parse(t[row.Name])
		if err != nil {
			return nil, &Error{row.Name, err}
		}
		set[row.Name] = v
	}
	return set, nil
}

// Text is the set as Parse reads it.
func (s Set) Text() Text {
	text := Text{}
	for name, v := range s {
		text[name] = v.String()
	}
	return text
}

func (r *Row) parse(s string) (v Value, err error) {
	v.kind = r.Kind
	switch r.Kind {
	case Processor:
		v.cpu, err = parseCPU(s)
	case Disk:
		var devices disk
		devices, err = parseDisk(s)
		v.device = devices.String()
	default:
		v.n, err = r.parseNumber(s)
	}
	return v, err
}

// IsMax says that the limit was named and bounds nothing.
func (v Value) IsMax() bool {
	switch v.kind {
	case Processor:
		return v.cpu.quota == 0
	case Disk:
		devices, _ := parseDisk(v.device) // it has been read before
		return !devices.bounds()
	}
	return v.n == noLimit
}

func (v Value) String() string {
	switch v.kind {
	case Processor:
		return v.cpu.String()
	case Disk:
		return v.device
	}
	if v.n == noLimit {
		return maxWord
	}
	return formatNumber(v.kind, v.n)
}

// Number is the bound of a Size, Count or Time (nanoseconds), and whether there is one.
func (s Set) Number(name string) (n int64, bound bool) {
	v, named := s[name]
	if !named || v.n == noLimit {
		return 0, false
	}
	return v.n, true
}

// Has says whether the set bounds a run in this limit.
func (s Set) Has(name string) bool {
	v, named := s[name]
	return named && !v.IsMax()
}
