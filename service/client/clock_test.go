package client_test

import (
	"math"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
)

// All runners have this host's clock, so the truth is 0 and each measurement
// has to have it within its own uncertainty, however long the cards took to read.
func TestClockIsRightWithinItsUncertainty(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a", OnDemand: true}, service.Config{Name: "b", OnDemand: true}, service.Config{Name: "c", OnDemand: true})
	check := func(k client.Clock) {
		t.Helper()
		const wallClockMoves = 1 // ms: it is read several times, and slewed meanwhile perhaps
		if k.Err != nil || math.Abs(k.Offset) > k.Uncertainty+wallClockMoves || k.Dangerous() {
			t.Errorf("%s: got %+.2f ± %.2f ms, %v", k.Runner, k.Offset, k.Uncertainty, k.Err)
		}
	}
	for range 20 {
		result, clocks, err := c.ClockAll(t.Context(), client.Target{Where: `name != "b"`}, &pb.ClockQuery{}, client.FanOptions{})
		if err != nil || len(clocks) != 2 || len(result.Skipped) != 1 {
			t.Fatalf("got %v, %v, %v", clocks, result, err)
		}
		for _, k := range clocks {
			check(k)
		}
		_, k, err := c.Clock(t.Context(), client.Target{On: "b"}, &pb.ClockQuery{})
		if err != nil || k.Runner != "b" {
			t.Fatalf("got %+v, %v", k, err)
		}
		check(k)
	}
	hour := time.Now().Add(time.Hour).UnixNano()
	_, clocks, err := c.ClockAll(t.Context(), client.Target{}, &pb.ClockQuery{TimeNanos: hour}, client.FanOptions{Batch: 2})
	if err != nil || len(clocks) != 3 {
		t.Fatalf("got %v, %v", clocks, err)
	}
	for _, k := range clocks {
		if !k.Dangerous() || math.Abs(k.Offset-3600_000) > 5000 {
			t.Errorf("%s: got %+.2f ms, want an hour", k.Runner, k.Offset)
		}
	}
}
