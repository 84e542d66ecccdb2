package run

import (
	"testing"

	"pgregory.net/rapid"
)

// A plain model of the places: whatever is asked in whatever order, never more
// than slots run, nobody overtakes, and nobody waits beside a free slot.
func TestPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &places{slots: rapid.IntRange(1, 3).Draw(t, "slots"), backlog: rapid.IntRange(0, 3).Draw(t, "backlog")}
		var live []*ticket // in order of arrival
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch {
			case rapid.IntRange(0, 9).Draw(t, "resize") == 0:
				p.resize(rapid.IntRange(1, 3).Draw(t, "slots"), p.backlog)
			case len(live) == 0 || rapid.Bool().Draw(t, "take"):
				forced := rapid.Bool().Draw(t, "forced")
				full := p.running >= p.slots && len(p.waiting) >= p.backlog
				got := p.take(forced)
				if full && !forced && got != nil {
					t.Fatal("took one more than there are places")
				}
				if got != nil {
					live = append(live, got)
				} else if forced {
					t.Fatal("a forced one was refused")
				}
			default:
				i := rapid.IntRange(0, len(live)-1).Draw(t, "who")
				gone := live[i]
				live = append(live[:i:i], live[i+1:]...)
				p.giveBack(gone)
				p.giveBack(gone) // twice is once
			}
			check(t, p, live)
		}
	})
}

func check(t *rapid.T, p *places, live []*ticket) {
	running, waited := 0, false
	for _, l := range live {
		select {
		case <-l.granted:
			running++
			if waited {
				t.Fatal("a later one runs while an earlier one waits")
			}
		default:
			waited = true
		}
	}
	if running != p.running || len(live)-running != len(p.waiting) {
		t.Fatalf("counts: running %d, waiting %d, but %d of %d have a slot", p.running, len(p.waiting), running, len(live))
	}
	if waited && p.running < p.slots {
		t.Fatal("one waits beside a free slot")
	}
}
