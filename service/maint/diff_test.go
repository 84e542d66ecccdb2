package maint

import (
	"context"
	"errors"
	"math"
	"math/big"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
)

var local = time.Unix(1_700_000_000, 250_000_000) // .25 into a second

func clockAt(t time.Time) *Keeper {
	k := New(Config{})
	k.now = func() time.Time { return t }
	return k
}

func maint(k *Keeper, query *pb.ClockQuery) (*pb.MaintReply, error) {
	return k.Maint(context.Background(), &pb.Maint{Clock: query})
}

func TestDifference(t *testing.T) {
	const s = 1_700_000_000
	for name, test := range map[string]struct {
		query     *pb.ClockQuery
		millis    int64
		offset    float64
		dangerous bool
	}{
		"inside the second":      {&pb.ClockQuery{Time: s}, 0, 0, false},
		"behind, nearer edge":    {&pb.ClockQuery{Time: s + 2}, 1750, 1750, false},
		"ahead, nearer edge":     {&pb.ClockQuery{Time: s - 2}, -1250, -1250, false},
		"the second just over":   {&pb.ClockQuery{Time: s - 1}, -250, -250, false},
		"exact":                  {&pb.ClockQuery{TimeNanos: s*1e9 + 251_234_567}, 1, 1.234567, false},
		"exact beats seconds":    {&pb.ClockQuery{Time: 1, TimeNanos: s*1e9 + 250_000_000}, 0, 0, false},
		"rounded to the nearest": {&pb.ClockQuery{TimeNanos: s*1e9 + 248_400_000}, -2, -1.6, false},
		"five seconds":           {&pb.ClockQuery{TimeNanos: (s+5)*1e9 + 250_000_000}, 5000, 5000, false},
		"above five seconds":     {&pb.ClockQuery{TimeNanos: (s+5)*1e9 + 251_000_000}, 5001, 5001, true},
		"below five seconds":     {&pb.ClockQuery{TimeNanos: (s-5)*1e9 + 249_000_000}, -5001, -5001, true},
		"int64's end":            {&pb.ClockQuery{Time: math.MaxInt64}, math.MaxInt64, math.MaxInt64, true},
		"int64's end in nanos":   {&pb.ClockQuery{TimeNanos: math.MaxInt64}, 7523372036605, 7523372036604.775807, true},
	} {
		reply, err := maint(clockAt(local), test.query)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c := reply.Clock
		if c.Diff.Time != test.millis || c.Diff.Dangerous != test.dangerous || math.Abs(c.Offset-test.offset) > 1e-3 {
			t.Errorf("%s: got %d ms, offset %v, dangerous %v; want %d, %v, %v",
				name, c.Diff.Time, c.Offset, c.Diff.Dangerous, test.millis, test.offset, test.dangerous)
		}
		if c.Sync.Status != StatusNotChecked || c.LocalNanos != local.UnixNano() || reply.Error != "" {
			t.Errorf("%s: got %v; want status 3, the local time and no error", name, reply)
		}
	}
}

func TestInvalidTime(t *testing.T) {
	want := &pb.MaintReply{
		Error: "invalid clock time",
		Clock: &pb.ClockReply{Diff: &pb.ClockDiff{Dangerous: true}, Sync: &pb.ClockSync{Status: 2}},
	}
	for _, query := range []*pb.ClockQuery{
		nil, {}, {Time: -1}, {Time: math.MinInt64}, {TimeNanos: -1}, {Time: -1, TimeNanos: 5}, {Sync: true}, {Sync: true, Force: true},
	} {
		got, err := maint(New(Config{AllowSet: true}), query)
		if !errors.Is(err, ErrInvalidTime) || !proto.Equal(got, want) {
			t.Errorf("%v: got %v, %v; want %v", query, got, err, want)
		}
	}
	if got, err := New(Config{}).Maint(context.Background(), nil); !errors.Is(err, ErrInvalidTime) || !proto.Equal(got, want) {
		t.Errorf("no maint at all: got %v, %v", got, err)
	}
}

// Against the rule spelt out in big integers: whatever the two times, nothing
// wraps round.
func TestDifferenceProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-1e11, 1e11).Draw(t, "local"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
		near := rapid.Int64Range(-20, 20).Draw(t, "near")
		query := &pb.ClockQuery{Time: rapid.OneOf(rapid.Int64(), rapid.Just(at.Unix()+near)).Draw(t, "base")}
		if rapid.Bool().Draw(t, "exact") {
			query = &pb.ClockQuery{TimeNanos: rapid.Int64().Draw(t, "base nanos")}
		}
		from, err := baseOf(query)
		if valid := query.Time > 0 || query.TimeNanos > 0; valid != (err == nil) {
			t.Fatalf("got error %v", err)
		}
		if err != nil {
			return
		}
		nanos := func(seconds, nanos int64) *big.Int {
			n := new(big.Int).Mul(big.NewInt(seconds), big.NewInt(1e9))
			return n.Add(n, big.NewInt(nanos))
		}
		now := nanos(at.Unix(), int64(at.Nanosecond()))
		first := nanos(query.Time, query.TimeNanos)
		end := first
		if query.TimeNanos == 0 {
			end = new(big.Int).Add(first, big.NewInt(1e9))
		}
		want := new(big.Int)
		switch {
		case now.Cmp(first) < 0:
			want.Sub(first, now)
		case now.Cmp(end) > 0:
			want.Sub(end, now)
		}
		got, exact := from.millisFrom(at)
		want.Quo(want, big.NewInt(1e5)) // tenths of a millisecond
		if !want.IsInt64() || want.CmpAbs(big.NewInt(math.MaxInt64/100)) > 0 {
			return // saturation has a test of its own
		}
		if tenths := want.Int64(); math.Abs(float64(got)*10-float64(tenths)) > 6+math.Abs(float64(tenths))*1e-15 {
			t.Errorf("got %d ms, want %d tenths", got, tenths)
		}
		if math.Abs(float64(got)-exact) > 0.51+math.Abs(exact)*1e-15 {
			t.Errorf("got %d ms and exactly %v ms", got, exact)
		}
	})
}

func TestSaturation(t *testing.T) {
	far := base{seconds: math.MaxInt64}
	if got, _ := far.millisFrom(time.Unix(-1e10, 0)); got != math.MaxInt64 {
		t.Errorf("got %d, want the largest int64", got)
	}
	early := base{seconds: 1, exact: true}
	if got, _ := early.millisFrom(time.Unix(math.MaxInt64, 0)); got != math.MinInt64 {
		t.Errorf("got %d, want the smallest int64", got)
	}
}
