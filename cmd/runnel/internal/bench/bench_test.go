package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/service/client"
)

func TestFigures(t *testing.T) {
	for _, test := range []struct {
		value float64
		unit  string
		want  string
	}{
		{0.0421, "ms", "0.0421 ms"}, {1.234, "ms", "1.23 ms"}, {123.4, "ms", "123 ms"}, {2706, "/s", "2706 /s"},
		{41000, "lines/s", "41 k lines/s"}, {2.1e6, "lines/s", "2.1 M lines/s"}, {25.2e6, "B", "25.2 MB"}, {14, "", "14"},
	} {
		if got := figure(test.value, test.unit); got != test.want {
			t.Errorf("%g %s: got %s, want %s", test.value, test.unit, got, test.want)
		}
	}
}

func TestBudgets(t *testing.T) {
	ratio := row{Value: 1.5, Unit: "ms", Budget: 1.8, Most: true}.beside(0.75, "os/exec")
	for _, test := range []struct {
		name string
		row  row
		met  bool
		text string
	}{
		{"ratio above", ratio, false, "≤ 1.8×"},
		{"ratio below", row{Value: 1.2, Unit: "ms", Budget: 1.8, Most: true}.beside(0.75, "os/exec"), true, "≤ 1.8×"},
		{"value above", row{Value: 30e6, Unit: "B", Budget: 25e6, Most: true}, false, "≤ 25 MB"},
		{"at least", row{Value: 1000, Unit: "/s", Budget: 0.65}.beside(2000, "os/exec"), false, "≥ 0.65×"},
		{"no budget", row{Value: 1e9}, true, "-"},
	} {
		if got := test.row.met(); got != test.met {
			t.Errorf("%s: got met %t, want %t", test.name, got, test.met)
		}
		if got := test.row.budgetText(); got != test.text {
			t.Errorf("%s: got %s, want %s", test.name, got, test.text)
		}
	}
	if got := ratio.ratioText(); got != "2.00" {
		t.Errorf("got %s, want 2.00", got)
	}
}

// The README's table says what is missed.
func TestMarkdown(t *testing.T) {
	var out bytes.Buffer
	b := &command{App: app.New(app.Stdio{Out: &out, Err: io.Discard}), markdown: true}
	err := b.report([]row{
		row{Name: "true, p50", Unit: "ms", Value: 1.5, Budget: 1.8, Most: true}.beside(0.75, "os/exec"),
		{Name: "memory", Unit: "B", Value: 20e6, Budget: 25e6, Most: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `| what | Runnel | floor | ratio | budget |
|---|---|---|---|---|
| true, p50 | 1.5 ms | 0.75 ms (os/exec) | 2.00 | ≤ 1.8×: **missed** |
| memory | 20 MB | - | - | ≤ 25 MB |
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// Ways are timed in blocks, their order reversed each time, the first of a block
// left out.
func TestBlocks(t *testing.T) {
	var order strings.Builder
	mark := func(letter string) way {
		return func() (time.Duration, error) {
			order.WriteString(letter)
			return time.Duration(order.Len()), nil
		}
	}
	const n = blockSize + 5
	times, err := inBlocks(t.Context(), n, mark("a"), mark("b"))
	if err != nil {
		t.Fatal(err)
	}
	if len(times[0]) != n || len(times[1]) != n {
		t.Errorf("got %d and %d times, want %d", len(times[0]), len(times[1]), n)
	}
	block := func(letter string, n int) string { return strings.Repeat(letter, n+1) }
	if want := block("a", blockSize) + block("b", blockSize) + block("b", 5) + block("a", 5); order.String() != want {
		t.Errorf("got %s, want %s", order.String(), want)
	}
	if times[0][0] != 2 {
		t.Errorf("the first of a block counts")
	}
}

func TestBlocksEnd(t *testing.T) {
	boom := errors.New("boom")
	if _, err := inBlocks(t.Context(), 3, timed(func() error { return boom })); !errors.Is(err, boom) {
		t.Errorf("got %v, want boom", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inBlocks(ctx, 3, timed(func() error { return nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestRates(t *testing.T) {
	all, err := rates(t.Context(), 64, func() error { return nil }, func() error { time.Sleep(20 * time.Millisecond); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if all[1] <= 0 || all[1] > inFlight/0.02 || all[0] <= all[1] {
		t.Errorf("got %v a second", all)
	}
	boom := errors.New("boom")
	if _, err := rates(t.Context(), 64, func() error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want boom", err)
	}
}

func TestQuantiles(t *testing.T) {
	all := []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}
	if got := quantile(all, 0.5); got != 2 {
		t.Errorf("p50: got %g, want 2", got)
	}
	if got := quantile(all, 0.99); got != 3 {
		t.Errorf("p99: got %g, want 3", got)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: got %g, want 0", got)
	}
}

// A limit is named before anything is started.
func TestTooManySimulated(t *testing.T) {
	b := &command{App: app.New(app.Stdio{Out: io.Discard, Err: io.Discard}), simulate: 1 << 40}
	if err := b.run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot simulate ") {
		t.Errorf("got %v, want the limit", err)
	}
}

// Who did not answer is said with the reason.
func TestNotAllAnswered(t *testing.T) {
	var lists client.FanLists
	for _, name := range []string{"a", "b", "c", "d"} {
		lists.Add(name, client.ReplyMissing, fmt.Errorf("%w from runner %s in 5s", client.ErrNoAnswer, name))
	}
	want := "4 of 9 did not answer: a (no answer from runner a in 5s), b (no answer from runner b in 5s), c (no answer from runner c in 5s)"
	if got := notAll(9, &lists).Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
