package waitlist

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/service/pipeline/definition"
)

func intp(n int) *definition.Int { i := definition.Int(n); return &i }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// show writes a head as r1 | w1 w2.
func (h Head) show() string {
	var waiting []string
	for _, w := range h.Waiting {
		waiting = append(waiting, w.Job)
	}
	return strings.TrimSpace(strings.Join(h.Running, " ") + " | " + strings.Join(waiting, " "))
}

func TestAccept(t *testing.T) {
	for _, c := range []struct {
		name string
		p    definition.Pipeline
		jobs string // id or id/partition; with ~ it may be interrupted
		want string
		last error
	}{
		{"one at a time", definition.Pipeline{}, "a b c", "a | b c", nil},
		{"two at a time", definition.Pipeline{Concurrency: 2}, "a b c", "a b | c", nil},
		{"no waiting", definition.Pipeline{QueueLimit: intp(0)}, "a b", "a |", ErrNoQueue},
		{"limit", definition.Pipeline{QueueLimit: intp(1)}, "a b c", "a | b", ErrQueueFull},
		{"replace", definition.Pipeline{QueueLimit: intp(1), QueueStrategy: definition.Replace}, "a b c d", "a | d", nil},
		{"replace the last", definition.Pipeline{QueueLimit: intp(2), QueueStrategy: definition.Replace}, "a b c d", "a | b d", nil},
		{"replace only when full", definition.Pipeline{QueueStrategy: definition.Replace}, "a b c", "a | b c", nil},
		{"partitions", definition.Pipeline{QueuePartitionLimit: intp(1), QueueStrategy: definition.PartitionedReplace}, "a/x b/x c/y d/x e/y", "a | d e", nil},
		{"partition of two", definition.Pipeline{QueuePartitionLimit: intp(2), QueueStrategy: definition.PartitionedReplace}, "a b/x c/y d/x e/x", "a | b c e", nil},
		{"none waits, and interrupts", definition.Pipeline{QueueLimit: intp(0), Interrupt: true}, "a~ b~", "a | b", nil},
		{"and is interrupted before it starts", definition.Pipeline{QueueLimit: intp(0), Interrupt: true}, "a~ b~ c~", "a | c", nil},
		{"but not if it is firm", definition.Pipeline{QueueLimit: intp(0), Interrupt: true}, "a~ b c~", "a | b", ErrNoQueue},
		{"a firm one is not interrupted", definition.Pipeline{QueueLimit: intp(0), Interrupt: true}, "a b~", "a |", ErrNoQueue},
		{"nor one of two", definition.Pipeline{Concurrency: 2, QueueLimit: intp(0), Interrupt: true}, "a~ b c~", "a b |", ErrNoQueue},
		{"both of two", definition.Pipeline{Concurrency: 2, QueueLimit: intp(0), Interrupt: true}, "a~ b~ c~ d~ e~", "a b | c e", nil},
		{"without interrupt", definition.Pipeline{QueueLimit: intp(0)}, "a~ b~", "a |", ErrNoQueue},
		{"delay waits though idle", definition.Pipeline{StartDelay: definition.Duration(time.Second)}, "a b", "| a b", nil},
		{"debounce", definition.Pipeline{StartDelay: definition.Duration(time.Second), QueueLimit: intp(1), QueueStrategy: definition.Replace}, "a b c", "| c", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Head
			var err error
			for _, job := range strings.Fields(c.jobs) {
				id, partition, _ := strings.Cut(job, "/")
				id, soft := strings.CutSuffix(id, "~")
				var next Head
				if next, _, err = h.Accept(&c.p, Waiting{Job: id, Partition: partition, Soft: soft}, noon); err == nil {
					h = next
				}
			}
			if h.show() != strings.TrimSpace(c.want) || !errors.Is(err, c.last) {
				t.Errorf("got %s, %v; want %s, %v", h.show(), err, c.want, c.last)
			}
		})
	}
}

func TestStartDelay(t *testing.T) {
	p := &definition.Pipeline{StartDelay: definition.Duration(time.Minute), Concurrency: 2}
	h, _, _ := Head{}.Accept(p, Waiting{Job: "a"}, noon)
	h, _, _ = h.Accept(p, Waiting{Job: "b"}, noon.Add(30*time.Second))
	if next := h.NextDue(noon); !next.Equal(noon.Add(time.Minute)) {
		t.Errorf("next due %s", next)
	}
	if _, started := h.Start(p, noon.Add(59*time.Second)); len(started) != 0 {
		t.Errorf("started too early: %v", started)
	}
	h, started := h.Start(p, noon.Add(time.Minute))
	if fmt.Sprint(started) != "[a]" || h.show() != "a | b" {
		t.Errorf("started %v, head %s", started, h.show())
	}
}

// Whatever happens in whatever order: no more jobs run than may, no more wait
// than may, nobody is in the head twice or lost, and those that wait keep their order.
func TestHeadProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &definition.Pipeline{Concurrency: definition.Int(rapid.IntRange(0, 3).Draw(t, "concurrency"))}
		switch rapid.IntRange(0, 2).Draw(t, "strategy") {
		case 1:
			p.QueueStrategy = definition.Replace
		case 2:
			p.QueueStrategy, p.QueuePartitionLimit = definition.PartitionedReplace, intp(rapid.IntRange(1, 2).Draw(t, "partition limit"))
		}
		if p.QueuePartitionLimit == nil && rapid.Bool().Draw(t, "limited") {
			p.QueueLimit = intp(rapid.IntRange(0, 3).Draw(t, "limit"))
		}
		if (p.QueueLimit == nil || *p.QueueLimit > 0) && rapid.Bool().Draw(t, "delayed") {
			p.StartDelay = definition.Duration(rapid.IntRange(1, 5).Draw(t, "delay"))
		}
		p.Interrupt = definition.Bool(rapid.Bool().Draw(t, "interrupt"))
		h, now, known := Head{}, noon, map[string]string{} // job → where it is
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "passed")))
			before := h
			switch rapid.IntRange(0, 2).Draw(t, "event") {
			case 0:
				id := fmt.Sprint("j", i)
				next, a, err := h.Accept(p, Waiting{Job: id, Partition: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "partition"), Soft: rapid.Bool().Draw(t, "soft")}, now)
				if err != nil {
					if h.Schedulable(p, now) && p.QueuePartitionLimit == nil {
						t.Fatalf("refused, though schedulable: %s", h.show())
					}
					continue
				}
				h, known[id] = next, "in"
				delete(known, a.Replaced)
			case 1:
				var started []string
				h, started = h.Start(p, now)
				if len(h.Running) < p.Jobs() && h.due(now) >= 0 {
					t.Fatalf("a free place and a due job after Start: %s", h.show())
				}
				_ = started
			case 2:
				if all := append(slices.Clone(h.Running), idsOf(h.Waiting)...); len(all) > 0 {
					id := rapid.SampledFrom(all).Draw(t, "removed")
					h, _ = h.Remove(id)
					delete(known, id)
				}
			}
			checkHead(t, p, before, h, known)
		}
	})
}

func idsOf(waiting []Waiting) (ids []string) {
	for _, w := range waiting {
		ids = append(ids, w.Job)
	}
	return ids
}

func checkHead(t *rapid.T, p *definition.Pipeline, before, h Head, known map[string]string) {
	all := append(slices.Clone(h.Running), idsOf(h.Waiting)...)
	if len(h.Running) > p.Jobs() {
		t.Fatalf("%d run, %d may", len(h.Running), p.Jobs())
	}
	most := math.MaxInt
	if p.QueueLimit != nil {
		most = int(*p.QueueLimit)
	}
	if most == 0 && bool(p.Interrupt) { // for the end of those that they interrupt
		most = p.Jobs()
	}
	if len(h.Waiting) > most {
		t.Fatalf("%d wait, %d may", len(h.Waiting), most)
	}
	for _, id := range h.Soft {
		if !slices.Contains(h.Running, id) {
			t.Fatalf("%s may be interrupted and does not run: %s", id, h.show())
		}
	}
	if len(all) != len(known) {
		t.Fatalf("%d jobs in the head, %d known: %s", len(all), len(known), h.show())
	}
	for _, id := range all {
		if known[id] == "" {
			t.Fatalf("%s is in the head and should not be: %s", id, h.show())
		}
	}
	// The order of those that waited before and still do.
	old := idsOf(before.Waiting)
	last := -1
	for _, id := range idsOf(h.Waiting) {
		if at := slices.Index(old, id); at >= 0 {
			if at < last {
				t.Fatalf("order changed: %s → %s", before.show(), h.show())
			}
			last = at
		}
	}
}

func TestWhy(t *testing.T) {
	at := time.Unix(1000, 0)
	late := at.Add(time.Minute)
	h := Head{Running: []string{"r"}, Waiting: []Waiting{{Job: "a", NotBefore: late}, {Job: "b"}, {Job: "c"}, {Job: "d", NotBefore: at}}}
	for _, c := range []struct {
		place, most int
		want        string
	}{
		{1, 1, "its start delay is not over"},
		{2, 1, "one job runs at a time, and it is the next"},
		{3, 1, "one job runs at a time, and one waits before it"},
		{4, 3, "3 jobs run at a time, and 2 wait before it"},
		{2, 2, "it is about to start"},
		{3, 2, "2 jobs run at a time, and one waits before it"},
	} {
		if got := h.Why(c.place, c.most, at); got != c.want {
			t.Errorf("place %d of %d: %q, want %q", c.place, c.most, got, c.want)
		}
	}
}
