package pattern

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Errors that Parse wraps.
var (
	// ErrInvalid is a pattern that cannot be read, or that never matches.
	ErrInvalid = errors.New("invalid schedule")
	// ErrZone is a time zone that is not in the zone database.
	ErrZone = errors.New("unknown time zone")
)

// horizon is how far ahead a server looks for the next match.
const horizon = 5

// shorthands are the names that a server knows, as cron patterns.
var shorthands = map[string]string{
	"@yearly":   "0 0 0 1 1 *",
	"@annually": "0 0 0 1 1 *",
	"@monthly":  "0 0 0 1 * *",
	"@weekly":   "0 0 0 * * 0",
	"@daily":    "0 0 0 * * *",
	"@midnight": "0 0 0 * * *",
	"@hourly":   "0 0 * * * *",
}

// fields parses six fields as the server does, whose parser comes from the same
// source.
var fields = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Pattern is a parsed schedule. The zero Pattern is never due.
type Pattern struct {
	text  string // as a server takes it
	zone  string // "" is UTC
	every time.Duration
	at    time.Time
	spec  *cron.SpecSchedule
	loc   *time.Location
	fixed bool // the hour does not begin with "*"
}

// Cron parses a pattern of five or six fields, or a name such as @daily, in a
// time zone of the IANA database; "" is UTC. Five fields are at second 0.
func Cron(text, zone string) (Pattern, error) {
	words := strings.Fields(text)
	full := strings.Join(words, " ")
	if long, ok := shorthands[full]; ok {
		words, full = strings.Fields(long), long
	}
	switch {
	case len(words) > 0 && strings.ContainsAny(words[0], "@="):
		return Pattern{}, fmt.Errorf("%w: %q is no cron pattern; the names are @yearly, @monthly, @weekly, @daily and @hourly", ErrInvalid, text)
	case len(words) == 5:
		full = "0 " + full
		words = strings.Fields(full)
	case len(words) != 6:
		return Pattern{}, fmt.Errorf("%w: cron pattern %q has %d fields, not five (minute, hour, day, month, weekday) or six (second first)", ErrInvalid, text, len(words))
	}
	loc, err := location(zone)
	if err != nil {
		return Pattern{}, err
	}
	for _, word := range words {
		if strings.Contains(","+word+",", ",,") {
			return Pattern{}, fmt.Errorf("%w: cron pattern %q has an empty part in %q", ErrInvalid, text, word)
		}
	}
	parsed, err := fields.Parse(full)
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: cron pattern %q: %w", ErrInvalid, text, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Pattern{}, fmt.Errorf("%w: cron pattern %q", ErrInvalid, text)
	}
	p := Pattern{text: full, zone: zone, spec: spec, loc: loc, fixed: !strings.ContainsAny(words[2][:1], "*?")}
	// Four years hold each date, whichever today is.
	if p.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Pattern{}, fmt.Errorf("%w: cron pattern %q matches no date", ErrInvalid, text)
	}
	return p, nil
}

// location finds a zone. Local is the reader's own zone, which is another one
// on the next host, so that it is refused.
func location(zone string) (*time.Location, error) {
	if zone == "Local" {
		return nil, fmt.Errorf("%w %q: name one, such as Europe/Berlin", ErrZone, zone)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("%w %q: give a name such as Europe/Berlin", ErrZone, zone)
	}
	return loc, nil
}

// Every parses an interval of whole seconds, such as 5m or 1h30m.
func Every(text string) (Pattern, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	switch {
	case err != nil:
		return Pattern{}, fmt.Errorf("%w: interval %q: give a number and a unit, such as 5m", ErrInvalid, text)
	case d < time.Second:
		return Pattern{}, fmt.Errorf("%w: interval %q is less than a second", ErrInvalid, text)
	case d%time.Second != 0:
		return Pattern{}, fmt.Errorf("%w: interval %q is not in whole seconds", ErrInvalid, text)
	}
	return Pattern{text: "@every " + d.String(), every: d}, nil
}

// At is a schedule that is due once.
func At(t time.Time) (Pattern, error) {
	if t.IsZero() {
		return Pattern{}, fmt.Errorf("%w: no time", ErrInvalid)
	}
	t = t.UTC().Truncate(time.Second)
	return Pattern{text: "@at " + t.Format(time.RFC3339), at: t}, nil
}

// String is the pattern as the header Nats-Schedule has it.
func (p Pattern) String() string { return p.text }

// Zone is the name for the header Nats-Schedule-Time-Zone, which the server
// takes with cron patterns only; "" for none.
func (p Pattern) Zone() string { return p.zone }

// Once reports whether the pattern is due at one time only.
func (p Pattern) Once() bool { return !p.at.IsZero() }

// Interval is the time between two ticks of Every; 0 for the others.
func (p Pattern) Interval() time.Duration { return p.every }
