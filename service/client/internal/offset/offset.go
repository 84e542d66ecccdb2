// Package offset compares a host's clock with this one's over a network.
package offset

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
)

// dangerousMillis is the contract's bound. (pipego)
const dangerousMillis = 5000

// Dangerous: more than 5 s either way.
func Dangerous(millis float64) bool { return millis > dangerousMillis || millis < -dangerousMillis }

// WithBase fills in this host's time where the query has none; own says so.
func WithBase(q *pb.ClockQuery) (_ *pb.ClockQuery, own bool) {
	if q.GetTime() != 0 || q.GetTimeNanos() != 0 || q.GetNtp() {
		return q, false
	}
	q = proto.CloneOf(q)
	q.TimeNanos = time.Now().UnixNano()
	return q, true
}

// Correct sets offset and uncertainty of a reply whose request was sent at a time of
// this host and whose journey took so long: the host's time belongs to the middle of
// it, give or take half.
func Correct(k *pb.ClockReply, sent time.Time, travel time.Duration) {
	if k.GetLocalNanos() == 0 {
		return
	}
	middle := sent.Add(travel / 2)
	k.Offset = float64(middle.UnixNano()-k.GetLocalNanos()) / float64(time.Millisecond)
	k.Uncertainty = float64(travel/2) / float64(time.Millisecond)
	if diff := k.GetDiff(); diff != nil {
		diff.Time = int64(math.Round(k.Offset))
		diff.Dangerous = Dangerous(k.Offset)
	}
}
