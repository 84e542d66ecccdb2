package hosts

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

func TestOffsetsInWords(t *testing.T) {
	for ms, want := range map[float64]string{
		0:          "+0.0ms",
		0.04:       "+0.0ms",
		-0.04:      "+0.0ms", // no minus before nothing
		0.2:        "+0.2ms",
		-12.34:     "-12.3ms",
		999.4:      "+999.4ms",
		1000:       "+1.00s",
		-7210:      "-7.21s",
		59_999:     "+60.00s",
		3_599_999:  "+3600.00s",
		3_600_000:  "+1h",
		-7_200_000: "-2h",
		172800_000: "+2d",
		-90000_000: "-1d",
	} {
		if got := offsetText(ms); got != want {
			t.Errorf("%v ms: got %s, want %s", ms, got, want)
		}
	}
}

// Whatever the offset, it has a sign and a unit, and the sign is the clock's.
func TestOffsetsHaveASignAndAUnit(t *testing.T) {
	check := func(seed int64) bool {
		ms := float64(seed%100_000_000_000) / 1000
		text := offsetText(ms)
		negative := ms <= -0.05
		return strings.ContainsRune("smhd", rune(text[len(text)-1])) && (text[0] == '-') == negative && len(text) <= 9
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestBadOffsetsAreMarked(t *testing.T) {
	for ms, want := range map[float64]any{
		0.2:     "+0.2ms",
		999:     "+999.0ms",
		-999:    "-999.0ms",
		1000:    term.Painted{Colour: term.Red, Text: "+1.00s!"},
		-61_000: term.Painted{Colour: term.Red, Text: "-61.00s!"},
	} {
		if got := offset(ms); got != want {
			t.Errorf("%v ms: got %v, want %v", ms, got, want)
		}
	}
}

func TestKernelsInWords(t *testing.T) {
	for _, c := range []struct {
		kernel *pb.KernelClock
		want   string
	}{
		{nil, "-"},
		{&pb.KernelClock{}, "-"},
		{&pb.KernelClock{State: "synchronised"}, "synchronised"},
		{&pb.KernelClock{State: "synchronised", Mode: "pll"}, "pll"},
		{&pb.KernelClock{State: "unsynchronised", Mode: "fll"}, "unsynchronised"},
		{&pb.KernelClock{State: "insert"}, "insert"},
	} {
		if got := kernelText(c.kernel); got != c.want {
			t.Errorf("%v: got %s, want %s", c.kernel, got, c.want)
		}
	}
}

// compared is a clock that was compared, at this offset.
func compared(runner string, offset float64) client.Clock {
	return client.Clock{Runner: runner, Offset: offset, Uncertainty: 1, Reply: &pb.MaintReply{Clock: &pb.ClockReply{Diff: &pb.ClockDiff{Time: int64(offset)}}}}
}

// The worst clock stands last, above the prompt; after it only those of which
// nothing is known.
func TestWorstClockLast(t *testing.T) {
	blind := client.Clock{Runner: "blind", Reply: &pb.MaintReply{Clock: &pb.ClockReply{}}}
	refused := compared("refused", 0)
	refused.Err = errors.New("no server answers")
	refused.Reply.Clock.Diff.Dangerous = true
	clocks := []client.Clock{blind, compared("late", -7000), refused, compared("b", 3), compared("a", -3), compared("good", 0.1)}
	slices.SortFunc(clocks, byOffset)
	var got []string
	for _, c := range clocks {
		got = append(got, c.Runner)
	}
	if want := []string{"good", "a", "b", "late", "blind", "refused"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// byOffset is an order: what sorts a fleet must not depend on how it came.
func TestClocksHaveOneOrder(t *testing.T) {
	check := func(offsets [3]int16, unknowns [3]bool) bool {
		var c [3]client.Clock
		for i := range c {
			c[i] = compared(string(rune('a'+i)), float64(offsets[i]))
			if unknowns[i] {
				c[i].Reply.Clock.Diff = nil
			}
		}
		for _, pair := range [][2]int{{0, 1}, {1, 2}, {0, 2}} {
			if byOffset(c[pair[0]], c[pair[1]]) != -byOffset(c[pair[1]], c[pair[0]]) {
				return false
			}
		}
		if byOffset(c[0], c[1]) < 0 && byOffset(c[1], c[2]) < 0 && byOffset(c[0], c[2]) >= 0 {
			return false
		}
		return byOffset(c[0], c[0]) == 0
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestHowAClockStands(t *testing.T) {
	synced := func(sync *pb.ClockSync, offset float64) client.Clock {
		k := compared("web1", offset)
		k.Reply.Clock.Sync = sync
		return k
	}
	none := compared("web1", 0)
	none.Reply.Clock.Diff = nil
	for name, c := range map[string]struct {
		clock client.Clock
		want  term.Painted
	}{
		"nothing known":          {none, term.Painted{Colour: term.Red, Text: "unknown"}},
		"compared, and right":    {synced(&pb.ClockSync{Status: 3}, 12), term.Painted{Colour: term.Green, Text: "synchronised"}},
		"compared, and wrong":    {synced(&pb.ClockSync{Status: 3}, 101), term.Painted{Colour: term.Red, Text: "not synced"}},
		"compared, and behind":   {synced(&pb.ClockSync{Status: 3}, -101), term.Painted{Colour: term.Red, Text: "not synced"}},
		"sync failed":            {synced(&pb.ClockSync{Status: 1}, 1), term.Painted{Colour: term.Red, Text: "not synced"}},
		"sync can't say":         {synced(&pb.ClockSync{Status: 2}, 1), term.Painted{Colour: term.Yellow, Text: "indeterminate"}},
		"set in one":             {synced(&pb.ClockSync{Action: "step"}, 0), term.Painted{Colour: term.Green, Text: "synchronised by a step"}},
		"set slowly":             {synced(&pb.ClockSync{Action: "slew"}, 0), term.Painted{Colour: term.Green, Text: "synchronised by a slew"}},
		"being set":              {synced(&pb.ClockSync{Action: "slew", Slewing: true, Remaining: 1500}, 0), term.Painted{Colour: term.Green, Text: "slewing, 1.50s left"}},
		"being set back":         {synced(&pb.ClockSync{Action: "slew", Slewing: true, Remaining: -20}, 0), term.Painted{Colour: term.Green, Text: "slewing, 20.0ms left"}},
		"somebody else keeps it": {synced(&pb.ClockSync{Action: "left to chronyd"}, 0), term.Painted{Colour: term.Green, Text: "synchronised"}},
	} {
		if got := new(clockCommand).status(c.clock); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	// A comparison that is vaguer than the bound of "synchronised" is not called wrong.
	vague := synced(&pb.ClockSync{Status: 3}, 300)
	vague.Uncertainty = 400
	if got := new(clockCommand).status(vague); got != (term.Painted{Colour: term.Green, Text: "synchronised"}) {
		t.Errorf("a vague comparison: got %v", got)
	}
}

func TestClockQueries(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	for name, c := range map[string]struct {
		command clockCommand
		want    *pb.ClockQuery
	}{
		"this host's clock":    {clockCommand{}, &pb.ClockQuery{}},
		"NTP":                  {clockCommand{ntp: true}, &pb.ClockQuery{Ntp: true}},
		"sync is by NTP":       {clockCommand{sync: true}, &pb.ClockQuery{Ntp: true, Sync: true}},
		"and may be forced":    {clockCommand{sync: true, force: true}, &pb.ClockQuery{Ntp: true, Sync: true, Force: true}},
		"seconds":              {clockCommand{time: "1700000000"}, &pb.ClockQuery{Time: 1700000000}},
		"a time":               {clockCommand{time: "2026-01-02T03:04:05.0000006Z"}, &pb.ClockQuery{TimeNanos: at.UnixNano()}},
		"a time with its zone": {clockCommand{time: "2026-01-02T05:04:05.0000006+02:00"}, &pb.ClockQuery{TimeNanos: at.UnixNano()}},
		"sync with a time":     {clockCommand{sync: true, time: "1700000000"}, &pb.ClockQuery{Sync: true, Time: 1700000000}},
	} {
		got, err := c.command.query()
		if err != nil || got.String() != c.want.String() {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"0":        "invalid clock time: --time 0: it is Unix seconds, 1 or more",
		"-1":       "invalid clock time: --time -1: it is Unix seconds, 1 or more",
		"tomorrow": `cannot use --time "tomorrow": it is RFC 3339, such as 2006-01-02T15:04:05Z, or Unix seconds`,
		"12:30":    `cannot use --time "12:30": it is RFC 3339, such as 2006-01-02T15:04:05Z, or Unix seconds`,
	} {
		c := clockCommand{time: text}
		if _, err := c.query(); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	both := clockCommand{ntp: true, time: "1700000000"}
	if _, err := both.query(); err == nil || err.Error() != "cannot compare with both --ntp and --time" {
		t.Errorf("NTP and a time: got %v", err)
	}
}

func TestSystemsInWords(t *testing.T) {
	for name, want := range map[string]string{
		"Debian GNU/Linux 13 (trixie)": "Debian 13 (trixie)",
		"Alpine Linux v3.20":           "Alpine v3.20",
		"Ubuntu 24.04.1 LTS":           "Ubuntu 24.04.1 LTS",
		"":                             "",
	} {
		if got := osText(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestLittleLeftIsMarked(t *testing.T) {
	for _, c := range []struct {
		used, total int64
		want        any
	}{
		{4, 31, "4 of 31 GB"},
		{27, 30, "4 of 31 GB"}, // nine tenths exactly
		{28, 30, term.Painted{Colour: term.Red, Text: "4 of 31 GB!"}}, // and more
		{30, 30, term.Painted{Colour: term.Red, Text: "4 of 31 GB!"}}, // all of it
		{5, 0, "4 of 31 GB"}, // of nothing that is known
		{1 << 50, 1, term.Painted{Colour: term.Red, Text: "4 of 31 GB!"}}, // more than there is
	} {
		g := &glanceCommand{}
		if got := g.share(&pb.Usage{Used: "4 GB", Total: "31 GB"}, c.used, c.total); got != c.want {
			t.Errorf("%d of %d: got %v, want %v", c.used, c.total, got, c.want)
		}
	}
}

// runner is one as the fleet's bucket has it.
func runner(name, state string, online bool) client.Runner {
	return client.Runner{Online: online, Age: 3 * time.Second, Card: &pb.Card{Name: name, State: state, Slots: 64, Running: 2, Version: "1.2.3"}}
}

func TestRunnersState(t *testing.T) {
	for _, c := range []struct {
		state  string
		online bool
		want   term.Painted
	}{
		{"ready", true, term.Painted{Colour: term.Green, Text: "online"}},
		{"", true, term.Painted{Colour: term.Green, Text: "online"}},
		{"draining", true, term.Painted{Colour: term.Yellow, Text: "draining"}},
		{"initialising", true, term.Painted{Colour: term.Yellow, Text: "initialising"}},
		{"unhealthy", true, term.Painted{Colour: term.Red, Text: "unhealthy!"}},
		{"ready", false, term.Painted{Colour: term.Red, Text: "offline"}},
		{"unhealthy", false, term.Painted{Colour: term.Red, Text: "offline"}},
	} {
		if got := runnerState(runner("web1", c.state, c.online)); got != c.want {
			t.Errorf("%s, online %t: got %v, want %v", c.state, c.online, got, c.want)
		}
	}
}

func TestTableOfRunners(t *testing.T) {
	off := -2500.0
	late := runner("db1", "ready", true)
	late.Card.Pools, late.Card.Labels, late.Card.ClockOffset = []string{"db", "default"}, map[string]string{"zone": "b", "env": "prod"}, &off
	gone := runner("web9", "ready", false)
	gone.Card.ClockOffset, gone.Age = &off, 26*time.Hour
	got := strings.Join(runnersTable(term.Look{}, []client.Runner{late, gone, runner("web1", "draining", true)}).Lines(), "\n")
	want := `RUNNER  STATE     RUNNING  POOLS       LABELS           CLOCK    VERSION  SEEN
db1     online    2/64     db,default  env=prod,zone=b  -2.50s!  1.2.3    3s
web9    offline   -                                     -        1.2.3    1d
web1    draining  2/64                                  -        1.2.3    3s`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A terminal of 80 columns shows every runner's state and age, and gives up what
// matters least.
func TestTableOfRunnersIn80Columns(t *testing.T) {
	long := runner("a-runner-whose-name-is-quite-long", "ready", true)
	long.Card.Pools, long.Card.Labels = []string{"one-pool", "another-pool"}, map[string]string{"description": strings.Repeat("long ", 20)}
	lines := runnersTable(term.Look{Terminal: true, Width: 80}, []client.Runner{long, runner("b", "unhealthy", true)}).Lines()
	for _, line := range lines {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"online", "unhealthy!", "1.2.3", "3s", "SEEN", "a-runner"} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %s in it", text, want)
		}
	}
}
