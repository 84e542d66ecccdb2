package limits

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

func TestSizesInEverySpelling(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "007": 7, "1B": 1, "1k": 1 << 10, "1K": 1 << 10, "1kb": 1 << 10, "1KiB": 1 << 10, "64M": 64 << 20, "64MB": 64 << 20, "64mib": 64 << 20,
		"2g": 2 << 30, "2GiB": 2 << 30, "3T": 3 << 40, "3TB": 3 << 40, "1P": 1 << 50, "1PiB": 1 << 50, "9223372036854775806": math.MaxInt64 - 1,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "is not a number of bytes", "M": "is not a number of bytes", "-1": "is not a number of bytes", "+1": "is not a number of bytes", "1.5M": "is not a number of bytes",
		"64 M": "is not a number of bytes", "64MK": "is not a number of bytes", "64MM": "is not a number of bytes", "0x10": "is not a number of bytes", "1iB": "is not a number of bytes",
		"9223372036854775807": "is too big", "9999999999999999999999": "is too big", "8192P": "is too big", "max": "is not a number of bytes",
	} {
		if _, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A size that was read is written so that it is read as the same.
func TestSizesRoundTrip(t *testing.T) {
	check := func(n uint32, unit uint8) bool {
		text := Text{MemoryMax: formatNumber(Size, int64(n)+1) + []string{"", "K", "MiB", "g"}[unit%4]}
		set, err := text.Parse()
		if err != nil {
			return false
		}
		again, err := set.Text().Parse()
		return err == nil && again[MemoryMax] == set[MemoryMax] && again.Bytes(MemoryMax) == (int64(n)+1)<<(10*(unit%4))
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestProcessorTime(t *testing.T) {
	for text, want := range map[string]string{
		"50000 100000": "50000 100000", "50000": "50000 100000", " 50000   100000 ": "50000 100000", "max": "max", "max 50000": "max", "unlimited": "max",
		"100 1000": "1000 10000", "300 1000": "1200 4000", "1 1000": "1000 1000000", "1000 1000000": "1000 1000000",
	} {
		set, err := Text{CPUMax: text}.Parse()
		if err != nil || set[CPUMax].String() != want {
			t.Errorf("%q: got %v, %v, want %s", text, set[CPUMax], err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "is not a quota", "-1": "is not a quota", "much": "is not a quota", "1 2 3": "is not a quota", "50000 10": `period "10" is not a number from 1000 to 1000000`,
		"50000 2000000": "is not a number from 1000 to 1000000", "50000 x": `period "x"`, "1 100000": "is less than the kernel can do",
	} {
		if _, err := (Text{CPUMax: text}).Parse(); err == nil || !strings.HasPrefix(err.Error(), "limits.cpuMax: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// One share of processors is above another whatever the periods are.
func TestSharesOfProcessors(t *testing.T) {
	for _, c := range []struct {
		a, b  CPU
		above bool
	}{
		{CPU{50000, 100000}, CPU{50000, 100000}, false}, {CPU{50001, 100000}, CPU{50000, 100000}, true}, {CPU{5000, 10000}, CPU{50000, 100000}, false},
		{CPU{1000, 1000}, CPU{50000, 100000}, true}, {CPU{}, CPU{50000, 100000}, true}, {CPU{50000, 100000}, CPU{}, false}, {CPU{}, CPU{}, false},
		{CPU{maxCPUQuotaMicros, 1000}, CPU{maxCPUQuotaMicros, maxCPUMicros}, true}, // the products fit
	} {
		if got := c.a.isAbove(c.b); got != c.above {
			t.Errorf("%v above %v: got %t", c.a, c.b, got)
		}
	}
}

func TestDisks(t *testing.T) {
	for text, want := range map[string]string{
		"8:16 rbps=102400":                    "8:16 rbps=102400",
		"8:16 wbps=1M rbps=max":               "8:16 rbps=max wbps=1048576",
		"8:16 rbps=1, 8:0 wiops=5":            "8:0 wiops=5\n8:16 rbps=1",
		"8:16 rbps=1;8:16 rbps=2 wbps=3":      "8:16 rbps=2 wbps=3",
		"8:16 rbps=unlimited\n\n259:3 wbps=1": "8:16 rbps=max\n259:3 wbps=1",
	} {
		set, err := Text{IOMax: text}.Parse()
		if err != nil || set[IOMax].String() != want {
			t.Errorf("%q: got %q, %v, want %q", text, set[IOMax].String(), err, want)
		}
	}
	for text, want := range map[string]string{
		";": "is not a device and its rates", " , ": "is not a device and its rates", "8:16": "it must be a device and its rates", "sda rbps=1": `"sda" is not the number of a device`,
		"8 rbps=1": `"8" is not the number`, "8:x rbps=1": `"8:x" is not the number`, "4096:0 rbps=1": "is not the number", "8:16 speed=1": `"speed" is not rbps`,
		"8:16 rbps": `rbps: "" is not a rate`, "8:16 rbps=0": `rbps: "0" is not a rate`, "8:16 rbps=fast": `rbps: "fast" is not a rate`,
	} {
		if _, err := (Text{IOMax: text}).Parse(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "1ms": time.Millisecond} {
		set, err := Text{CPUTime: text}.Parse()
		if err != nil || set.Duration(CPUTime) != want || !set.Has(CPUTime) {
			t.Errorf("%q: got %v, %v", text, set, err)
		}
	}
	for text, want := range map[string]string{
		"90": "is not a duration with a unit", "-90": "is not a duration with a unit", "soon": "is not a duration", "-1s": "is negative", "1us": "is less than 1ms",
		"9223372036854775807ns": "is too long",
	} {
		if _, err := (Text{CPUTime: text}).Parse(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// The bounds of each row hold, and max is above all of them.
func TestBoundsOfTheTable(t *testing.T) {
	for _, row := range Rows() {
		if row.Kind != Count {
			continue
		}
		least, most := formatNumber(Count, row.Least), formatNumber(Count, row.Most)
		for text, good := range map[string]bool{least: true, most: true, "max": true, "unlimited": true, formatNumber(Count, row.Least-1): false, formatNumber(Count, row.Most+1): false, "+5": false, "5.0": false} {
			if _, err := (Text{row.Name: text}).Parse(); (err == nil) != good {
				t.Errorf("%s %q: got %v", row.Name, text, err)
			}
		}
	}
	for _, name := range Names() {
		set, err := Text{name: "max"}.Parse()
		if name == IOMax {
			set, err = Text{name: "8:16 rbps=max"}.Parse()
		}
		if err != nil || !set[name].IsMax() || set.Has(name) {
			t.Errorf("%s: got %v, %v, want no bound", name, set, err)
		}
	}
}

func TestErrorsNameTheLimit(t *testing.T) {
	_, err := Text{"memory": "1", "zzz": "2"}.Parse()
	var bad *Error
	if !errors.As(err, &bad) || bad.Name != "memory" || !strings.HasPrefix(err.Error(), "limits.memory: no such limit; there are cpuMax, cpuWeight, memoryMax, ") {
		t.Errorf("got %v", err)
	}
	_, err = Text{WallTime: "x", CPUMax: "x"}.Parse()
	if !errors.As(err, &bad) || bad.Name != CPUMax || bad.Unwrap() == nil {
		t.Errorf("got %v, want the first of the table", err)
	}
	if set, err := (Text{MemoryMax: ""}).Parse(); err != nil || len(set) > 0 {
		t.Errorf("an empty text: got %v, %v", set, err)
	}
}

func TestConfigurations(t *testing.T) {
	set, err := FromConfig(map[string]any{
		MemoryMax: "64M", PidsMax: 30, OpenFiles: uint64(64), Stack: int64(8 << 20), FileSize: float64(1 << 20), CPUWeight: 0, WallTime: "0s", CPUTime: "5s", Core: nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Text{MemoryMax: "67108864", PidsMax: "30", OpenFiles: "64", Stack: "8388608", FileSize: "1048576", CPUTime: "5s"}
	got := set.Text()
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: got %q, want %q", name, got[name], text)
		}
	}
	for name, value := range map[string]any{"true": true, "a part": 1.5, "a list": []any{1}, "huge": float64(1 << 60), "nothing": math.NaN()} {
		_, err := FromConfig(map[string]any{MemoryMax: value})
		if err == nil || !strings.Contains(err.Error(), "limits.memoryMax: ") || !strings.Contains(err.Error(), `is neither a whole number nor a text such as "64M"`) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if set, err := FromConfig(nil); err != nil || len(set) > 0 {
		t.Errorf("nothing: got %v, %v", set, err)
	}
}

func TestSetsReadYAML(t *testing.T) {
	var set Set
	if err := set.UnmarshalYAML(func(into any) error {
		*into.(*map[string]any) = map[string]any{PidsMax: 3}
		return nil
	}); err != nil || set.Text()[PidsMax] != "3" {
		t.Errorf("got %v, %v", set, err)
	}
	if back, err := set.MarshalYAML(); err != nil || back.(map[string]string)[PidsMax] != "3" {
		t.Errorf("got %v, %v", back, err)
	}
	broken := errors.New("no YAML")
	if err := set.UnmarshalYAML(func(any) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// parsed reads limits that are right.
func parsed(t *testing.T, text Text) Set {
	t.Helper()
	set, err := text.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSomeOfASet(t *testing.T) {
	set := parsed(t, Text{MemoryMax: "1M", PidsMax: "5", CPUTime: "1s"})
	if got := set.Only(func(name string) bool { return name == PidsMax || name == Core }); len(got) != 1 || !got.Has(PidsMax) {
		t.Errorf("got %v", got)
	}
	if got := set.Over(nil); len(got) != 3 {
		t.Errorf("got %v", got)
	}
	var none Set
	if got := none.Over(set); len(got) != 3 || none != nil {
		t.Errorf("got %v", got)
	}
	if got := parsed(t, Text{PidsMax: "9"}).Over(set); got.Text()[PidsMax] != "9" || len(got) != 3 || set.Text()[PidsMax] != "5" {
		t.Errorf("got %v, and the other is %v", got, set)
	}
}

func TestChangesInWords(t *testing.T) {
	set := parsed(t, Text{MemoryMax: "2G", CPUMax: "max", IOMax: "8:16 rbps=max", PidsMax: "5"})
	most := parsed(t, Text{MemoryMax: "1G", CPUMax: "50000 100000", IOMax: "8:16 rbps=5", PidsMax: "9", WallTime: "1h"})
	low, changes := set.Lower(most)
	var got []string
	for _, c := range changes {
		got = append(got, c.String())
	}
	want := []string{
		`limits.cpuMax lowered from "max" to "50000 100000"`, "limits.memoryMax lowered from 2147483648 to 1073741824", `limits.ioMax lowered from "8:16 rbps=max" to "8:16 rbps=5"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if low.Text()[PidsMax] != "5" || low.Duration(WallTime) != time.Hour {
		t.Errorf("got %v", low.Text())
	}
	if again, changes := low.Lower(most); len(changes) > 0 || len(again) != len(low) {
		t.Errorf("lowered twice: %v", changes)
	}
	if same, changes := set.Lower(parsed(t, Text{MemoryMax: "max"})); len(changes) > 0 || same.Text()[MemoryMax] != "2147483648" {
		t.Errorf("without a maximum: got %v, %v", same, changes)
	}
}

// What a maximum of the kernel's own default leaves as it is.
func TestUnsetWeightStaysUnset(t *testing.T) {
	for most, named := range map[string]bool{"10000": false, "100": false, "99": true} {
		low, changes := Set{}.Lower(parsed(t, Text{CPUWeight: most}))
		if low.Has(CPUWeight) != named || len(changes) > 0 {
			t.Errorf("at most %s: got %v, %v", most, low, changes)
		}
	}
}

func TestProcessorSecondsAreRoundedUp(t *testing.T) {
	for text, want := range map[string]uint64{"1ms": 1, "1s": 1, "1001ms": 2, "90s": 90, "2562047h": 9223369200, "9223372036854775806ns": 9223372036} {
		got := parsed(t, Text{CPUTime: text}).Rlimits()
		if len(got) != 1 || got[0] != (Rlimit{"cpu", want}) {
			t.Errorf("%s: got %v, want %d", text, got, want)
		}
	}
	set := parsed(t, Text{OpenFiles: "max", Nproc: "5"})
	if !set.NamesResource("nofile") || !set.NamesResource("nproc") || set.NamesResource("cpu") || len(set.Rlimits()) != 1 {
		t.Errorf("got %v", set.Rlimits())
	}
}

// No text makes a reader panic, and what it takes it writes and takes again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"64M", "50000 100000", "8:16 rbps=1", "90s", "max", "7", ""} {
		for i := range Names() {
			f.Add(uint8(i), text)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		name := Names()[int(which)%len(Names())]
		set, err := Text{name: text}.Parse()
		if err != nil {
			return
		}
		again, err := set.Text().Parse()
		if err != nil || len(again) != len(set) || again[name] != set[name] {
			t.Errorf("%s %q: written as %q, which is read as %v, %v", name, text, set.Text()[name], again, err)
		}
	})
}
