// Package kv uses a JetStream key-value bucket where the client's own KV has no
// call for what is needed: writes with a time to live, on condition, that hold
// out until the server has said yes or no; reads of the leader; many keys by
// one request; scans; and a watch that survives a restart of the server.
//
//   - claim a key:            [Bucket.Put] with Create
//   - compare and set:        [Bucket.Put] with the revision as Expect; "no" is a *[ConflictError]
//   - with a time to live:    Put with TTL
//   - write whatever there is: [Bucket.Set]
//   - read:                   [Bucket.Get] (any replica, and the leader before it says no), [Bucket.GetLeader], [Bucket.GetMany]
//   - watch from a revision:  [Bucket.Watch]
//   - scan, bounded:          [Bucket.Scan] (all from a revision on), [Bucket.Bodies] (bare values, until it is told to stop)
//   - remove with a marker:   [Bucket.Delete]
//
// Each write takes back the one before it (Nats-Rollup: sub), in a bucket with a
// history of two: a bucket without history drops the older one as a limit, which
// the server does not write down, so that after a crash it would come back.
package kv
