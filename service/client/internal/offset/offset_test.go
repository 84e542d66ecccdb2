package offset

import (
	"context"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
)

func TestDangerousOffsets(t *testing.T) {
	for millis, want := range map[float64]bool{0: false, 4999.9: false, 5000: false, 5000.1: true, -5000: false, -5000.1: true, 1e12: true} {
		if got := Dangerous(millis); got != want {
			t.Errorf("%v ms: got %t", millis, got)
		}
	}
}

// A query that names nothing to compare with is about this host's clock, and stays
// its caller's own.
func TestBaseOfAComparison(t *testing.T) {
	before := time.Now().UnixNano()
	asked := &pb.ClockQuery{Sync: true}
	q, own := WithBase(asked)
	if !own || q.GetTimeNanos() < before || q.GetTimeNanos() > time.Now().UnixNano() || !q.GetSync() {
		t.Errorf("got %v, %t", q, own)
	}
	if asked.GetTimeNanos() != 0 {
		t.Error("the caller's query was changed")
	}
	for _, q := range []*pb.ClockQuery{{Time: 1}, {TimeNanos: 1}, {Ntp: true}} {
		if got, own := WithBase(q); own || got != q {
			t.Errorf("%v: got %v, %t, want it as it is", q, got, own)
		}
	}
}

func TestOffsetOfAnAnswer(t *testing.T) {
	sent := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		local       time.Time
		travel      time.Duration
		offset, off float64
		diff        *pb.ClockDiff
	}{
		"right":        {sent.Add(5 * time.Millisecond), 10 * time.Millisecond, 0, 5, &pb.ClockDiff{}},
		"behind":       {sent.Add(-95 * time.Millisecond), 10 * time.Millisecond, 100, 5, &pb.ClockDiff{Time: 100}},
		"ahead":        {sent.Add(7005 * time.Millisecond), 10 * time.Millisecond, -7000, 5, &pb.ClockDiff{Time: -7000, Dangerous: true}},
		"on long ways": {sent.Add(500 * time.Millisecond), time.Second, 0, 500, &pb.ClockDiff{}},
	} {
		k := &pb.ClockReply{LocalNanos: c.local.UnixNano(), Offset: 1, Uncertainty: 2, Diff: &pb.ClockDiff{Time: 77, Dangerous: true}}
		Correct(k, sent, c.travel)
		if k.GetOffset() != c.offset || k.GetUncertainty() != c.off || !proto.Equal(k.GetDiff(), c.diff) {
			t.Errorf("%s: got %v ± %v, %v, want %v ± %v, %v", name, k.GetOffset(), k.GetUncertainty(), k.GetDiff(), c.offset, c.off, c.diff)
		}
	}
	// An older runner does not say what its clock was: what it found stays.
	k := &pb.ClockReply{Offset: 1, Uncertainty: 2, Diff: &pb.ClockDiff{Time: 1}}
	Correct(k, sent, time.Second)
	if k.GetOffset() != 1 || k.GetUncertainty() != 2 || k.GetDiff().GetTime() != 1 {
		t.Errorf("got %v", k)
	}
	k = &pb.ClockReply{LocalNanos: sent.UnixNano()}
	Correct(k, sent, 0)
	if k.GetDiff() != nil {
		t.Errorf("a comparison that failed has got a difference: %v", k)
	}
}

// Whenever within its journey the host looked at its clock, the true offset is
// within the uncertainty.
func TestUncertaintyHoldsTheTruth(t *testing.T) {
	sent := time.Unix(1_700_000_000, 0)
	check := func(travelMicros, atMicros uint32, offsetMillis int32) bool {
		travel := time.Duration(travelMicros%5_000_000) * time.Microsecond
		at := time.Duration(0)
		if travel > 0 {
			at = time.Duration(atMicros) * time.Microsecond % (travel + 1)
		}
		offset := time.Duration(offsetMillis%100_000) * time.Millisecond
		k := &pb.ClockReply{LocalNanos: sent.Add(at - offset).UnixNano()}
		Correct(k, sent, travel)
		off := k.GetOffset() - float64(offset)/float64(time.Millisecond)
		const rounding = 1e-3
		return off <= k.GetUncertainty()+rounding && -off <= k.GetUncertainty()+rounding
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// Only what is coarse is compared again, until it is fine, and three times at most.
func TestRefine(t *testing.T) {
	var mu sync.Mutex
	tries := map[int]int{}
	Refine(t.Context(), 20, func(i int) bool { return i%2 == 0 }, func(_ context.Context, i int) bool {
		mu.Lock()
		defer mu.Unlock()
		tries[i]++
		return i%4 == 0
	})
	for i := range 20 {
		want := map[int]int{0: 1, 1: 0, 2: 3, 3: 0}[i%4]
		if tries[i] != want {
			t.Errorf("%d: compared %d times, want %d", i, tries[i], want)
		}
	}
	Refine(t.Context(), 0, nil, nil) // of nobody
}

// A few are asked at a time: more would wait for one another.
func TestRefineAsksAFewAtATime(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	Refine(t.Context(), 40, func(int) bool { return true }, func(context.Context, int) bool {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		mu.Lock()
		now--
		mu.Unlock()
		return true
	})
	if most > refiners {
		t.Errorf("%d at a time", most)
	}
}

func TestFineComparisons(t *testing.T) {
	for uncertainty, want := range map[float64]bool{0: true, 2: true, 2.01: false, 100: false} {
		if got := Fine(uncertainty); got != want {
			t.Errorf("± %v ms: got %t", uncertainty, got)
		}
	}
}
