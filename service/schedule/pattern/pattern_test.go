package pattern_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/service/schedule/pattern"
)

func cron(t testing.TB, text, zone string) pattern.Pattern {
	t.Helper()
	p, err := pattern.Cron(text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "has 0 fields",
		"* * *":                    "has 3 fields",
		"* * * * * * *":            "has 7 fields",
		"61 * * * *":               "above maximum",
		"0 24 * * *":               "above maximum",
		"0 0 0 * *":                "below minimum",
		"0 0 30 2 *":               "matches no date",
		"0 0 31 4,6,9 *":           "matches no date",
		"*/0 * * * *":              "positive number",
		"5-1 * * * *":              "beyond end of range",
		"x * * * *":                "failed to parse",
		"1,,2 * * * *":             "empty part",
		", * * * *":                "empty part",
		"@every 5m":                "is no cron pattern",
		"@reboot":                  "is no cron pattern",
		"TZ=UTC 0 * * * *":         "is no cron pattern",
		"@at 2026-01-01T00:00:00Z": "is no cron pattern",
	} {
		_, err := pattern.Cron(text, "")
		if !errors.Is(err, pattern.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Cron(%q): %v, want one with %q", text, err, want)
		}
	}
	for _, zone := range []string{"Mars/Olympus", "Local", "../etc/passwd", "europe berlin"} {
		if _, err := pattern.Cron("0 0 * * *", zone); !errors.Is(err, pattern.ErrZone) {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
	for text, want := range map[string]string{
		"5": "a unit", "": "a unit", "999ms": "less than a second", "-5m": "less than a second",
		"1.5s": "whole seconds", "5 minutes": "a unit",
	} {
		if _, err := pattern.Every(text); !errors.Is(err, pattern.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Every(%q): %v, want one with %q", text, err, want)
		}
	}
}

func TestAsAServerTakesIt(t *testing.T) {
	for text, want := range map[string]string{
		"0 3 * * *":        "0 0 3 * * *",
		"  5   4 * *  sun": "0 5 4 * * sun",
		"@daily":           "0 0 0 * * *",
		"30 0 3 * * *":     "30 0 3 * * *",
	} {
		if got := cron(t, text, "").String(); got != want {
			t.Errorf("Cron(%q) is %q, want %q", text, got, want)
		}
	}
	every, err := pattern.Every("90s")
	if err != nil || every.String() != "@every 1m30s" || every.Interval() != 90*time.Second {
		t.Errorf("%q, %v", every, err)
	}
	once, err := pattern.At(at(t, "2026-10-25T02:30:00+02:00"))
	if err != nil || once.String() != "@at 2026-10-25T00:30:00Z" || !once.Once() {
		t.Errorf("%q, %v", once, err)
	}
}

func TestNextAndPrev(t *testing.T) {
	for _, c := range []struct{ text, zone, from, next string }{
		{"0 3 * * *", "", "2026-11-26T03:00:00Z", "2026-11-27T03:00:00Z"},
		{"0 3 * * *", "", "2026-11-26T02:59:59Z", "2026-11-26T03:00:00Z"},
		{"*/10 * * * * *", "", "2026-11-26T02:59:59Z", "2026-11-26T03:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-11-26T00:00:00Z", "2026-11-26T02:00:00Z"},
		{"0 0 29 2 *", "", "2026-11-26T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 13 * fri", "", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"}, // either is enough
		{"0 0 1 1 *", "", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"15 14 1 * *", "Asia/Kathmandu", "2026-11-26T00:00:00Z", "2026-12-01T08:30:00Z"},
		// The wall clock of Berlin shows 02:30 twice on 25 October, and not at all on 28 March.
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", "2027-03-29T00:30:00Z"},
	} {
		p, from, want := cron(t, c.text, c.zone), at(t, c.from), at(t, c.next)
		if got := p.Next(from); !got.Equal(want) {
			t.Errorf("%s in %q after %s: %s, want %s", c.text, c.zone, c.from, got, want)
		}
		if got := p.Prev(want.Add(time.Second)); !got.Equal(want) {
			t.Errorf("%s in %q before %s: %s, want %s", c.text, c.zone, want.Add(time.Second), got, want)
		}
	}
}

func TestOnceAndEvery(t *testing.T) {
	noon := at(t, "2026-11-26T12:00:00Z")
	once, _ := pattern.At(noon)
	if !once.Next(noon.Add(-time.Hour)).Equal(noon) || !once.Next(noon).IsZero() {
		t.Error("a single time is due before it, and not after")
	}
	if !once.Prev(noon).IsZero() || !once.Prev(noon.Add(time.Second)).Equal(noon) {
		t.Error("a single time has been due after it only")
	}
	every, _ := pattern.Every("5m")
	if got := every.Prev(noon); !got.Equal(noon.Add(-5 * time.Minute)) {
		t.Errorf("the tick before %s is %s", noon, got)
	}
	if !(pattern.Pattern{}).Next(noon).IsZero() || !(pattern.Pattern{}).Prev(noon).IsZero() {
		t.Error("no pattern is never due")
	}
}

// dues lists what is due in a span, "+" before what is made up for.
func dues(p pattern.Pattern, from, to time.Time) []string {
	var all []string
	for due := range p.Between(from, to) {
		text := due.At.Format("02T15:04")
		if due.MadeUp {
			text = "+" + text
		}
		all = append(all, text)
	}
	return all
}

func TestDaylightSaving(t *testing.T) {
	for _, c := range []struct {
		what, text, zone, from, to string
		want                       []string
	}{
		{"put back, fixed hour", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", []string{"25T00:30", "26T01:30"}},
		{"put back, any hour", "30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", "2026-10-25T02:45:00Z", []string{"25T00:30", "25T01:30", "25T02:30"}},
		{"put back, every other hour", "30 */2 * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", "2026-10-25T02:45:00Z", []string{"25T00:30", "25T01:30"}},
		{"put forward, fixed hour", "30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z", []string{"+28T01:00", "29T00:30"}},
		{"put forward, many in the hour", "*/10 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z", []string{"+28T01:00"}},
		{"put forward, also due right after", "0 2,3 * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z", []string{"28T01:00"}},
		{"put forward, any hour", "30 * * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", "2027-03-28T02:00:00Z", []string{"28T00:30", "28T01:30"}},
		{"New York, put back", "30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", []string{"01T05:30"}},
		{"New York, put forward", "30 2 * * *", "America/New_York", "2027-03-14T00:00:00Z", "2027-03-15T00:00:00Z", []string{"+14T07:00"}},
		{"half an hour, put back", "45 1 * * *", "Australia/Lord_Howe", "2027-04-03T00:00:00Z", "2027-04-04T00:00:00Z", []string{"03T14:45"}},
		{"half an hour, put forward", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z", []string{"+03T15:30"}},
		{"midnight is skipped", "0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-24T12:00:00Z", []string{"+23T22:00"}},
		{"no daylight saving", "30 2 * * *", "Asia/Tokyo", "2026-10-24T12:00:00Z", "2026-10-25T20:00:00Z", []string{"24T17:30", "25T17:30"}},
		{"not on the day of the change", "30 2 1 * *", "Europe/Berlin", "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z", nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := dues(cron(t, c.text, c.zone), at(t, c.from), at(t, c.to)); !slices.Equal(got, c.want) {
				t.Errorf("%s in %s: %v, want %v", c.text, c.zone, got, c.want)
			}
		})
	}
}

// A leap year has a last day, too.
func TestLeapYearEnds(t *testing.T) {
	from, eve := at(t, "2027-04-03T14:44:00Z"), at(t, "2028-12-30T12:00:00Z")
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Tokyo", ""} {
		for _, text := range []string{"0 13 * * *", "45 1 * * *", "30 2 * * *", "0 0 1 1 *", "*/10 * * * *", "59 23 31 12 *"} {
			done := make(chan string, 3)
			go func() {
				p := cron(t, text, zone)
				p.NextGap(from)
				prev, days := eve, 0
				for tick := p.Next(eve); tick.Sub(eve) < 96*time.Hour; tick = p.Next(tick) {
					if !tick.After(prev) {
						done <- fmt.Sprint(tick, " comes after ", prev)
						return
					}
					prev = tick
					days++
				}
				if text == "0 13 * * *" && days < 3 {
					done <- fmt.Sprint(days, " times in four days")
				}
				done <- ""
			}()
			select {
			case wrong := <-done:
				if wrong != "" {
					t.Errorf("%s in %q: %s", text, zone, wrong)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s in %q goes on for ever", text, zone)
			}
		}
	}
}

// field draws a field of a cron pattern.
func field(low, high int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		one := rapid.IntRange(low, high)
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0, 1:
			return "*"
		case 2:
			return fmt.Sprint(one.Draw(t, "value"))
		case 3:
			from := one.Draw(t, "from")
			return fmt.Sprintf("%d-%d", from, rapid.IntRange(from, high).Draw(t, "to"))
		default:
			return fmt.Sprintf("*/%d", rapid.IntRange(1, 9).Draw(t, "step"))
		}
	})
}

// wall says of each field of a drawn pattern whether it matches, in the plainest way.
func wall(text string, value, low int) bool {
	var from, to, step int
	switch {
	case text == "*":
		return true
	case strings.HasPrefix(text, "*/"):
		_, _ = fmt.Sscanf(text, "*/%d", &step)
		return (value-low)%step == 0
	case strings.Contains(text, "-"):
		_, _ = fmt.Sscanf(text, "%d-%d", &from, &to)
		return from <= value && value <= to
	default:
		return text == fmt.Sprint(value)
	}
}

// TestEveryMinuteAroundAChange compares with a walk over each minute of the days
// around a change of the clock, which asks nothing but the wall clock.
func TestEveryMinuteAroundAChange(t *testing.T) {
	zones := map[string]string{
		"Europe/Berlin": "2026-10-25T00:00:00Z", "America/New_York": "2027-03-14T00:00:00Z",
		"Australia/Lord_Howe": "2027-04-03T00:00:00Z", "Africa/Cairo": "2026-04-23T12:00:00Z",
		"Asia/Kathmandu": "2026-10-25T00:00:00Z", "America/St_Johns": "2027-03-14T00:00:00Z",
	}
	names := []string{}
	for name := range zones {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom(names).Draw(r, "zone")
		minute, hour, day := field(0, 59).Draw(r, "minute"), field(0, 23).Draw(r, "hour"), field(1, 31).Draw(r, "day")
		p, err := pattern.Cron(fmt.Sprintf("%s %s %s * *", minute, hour, day), zone)
		if err != nil {
			r.Fatal(err)
		}
		loc, _ := time.LoadLocation(zone)
		from := at(t, zones[zone]).Add(-30 * time.Hour)
		to := from.Add(72 * time.Hour)
		var want []time.Time
		for now := from.Add(time.Minute); !now.After(to); now = now.Add(time.Minute) {
			if l := now.In(loc); wall(minute, l.Minute(), 0) && wall(hour, l.Hour(), 0) && wall(day, l.Day(), 1) {
				want = append(want, now)
			}
		}
		var got []time.Time
		for now := p.Next(from); !now.IsZero() && !now.After(to); now = p.Next(now) {
			got = append(got, now)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			r.Fatalf("%s in %s: %v, want %v", p, zone, got, want)
		}
		for i := 1; i < len(got); i += 1 + len(got)/20 {
			if back := p.Prev(got[i]); !back.Equal(got[i-1]) {
				r.Fatalf("the tick before %s is %s, want %s", got[i], back, got[i-1])
			}
		}
	})
}

func FuzzCron(f *testing.F) {
	for _, text := range []string{"0 3 * * *", "*/5 * * * * *", "0 0 29 2 mon", "@daily", "1-5/2,7 ? * jan-mar sun"} {
		f.Add(text, "Europe/Berlin")
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text, zone string) {
		p, err := pattern.Cron(text, zone)
		if err != nil {
			if strings.Contains(err.Error(), "\n") && !strings.Contains(text+zone, "\n") {
				t.Errorf("%q is more than a line", err)
			}
			return
		}
		next := p.Next(now)
		if next.IsZero() {
			t.Fatalf("%q was accepted, and is never due", text)
		}
		if !next.After(now) {
			t.Errorf("%q: %s is not after %s", text, next, now)
		}
		again, err := pattern.Cron(p.String(), p.Zone())
		if err != nil || !again.Next(now).Equal(next) {
			t.Errorf("%q does not read as itself: %v", p, err)
		}
	})
}
