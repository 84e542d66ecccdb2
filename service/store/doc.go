// Package store keeps the records of a fleet in two JetStream KV buckets: runs
// (<run> → pb.Run) and cards of runners (<runner> → pb.Card). Values are our
// JSON form, so that "nats kv get" reads them.
//
// A record's life is in states.go: one table says which moves are legal, and a
// final state never moves. Only runners write records, always by
// compare-and-set on the record's revision: Create is the claim that makes a
// run start at most once, Update fails with ErrFinal when somebody else ended
// the run. The write that makes a record final carries the retention as the
// message's own TTL, so that the server forgets old runs and nobody else has
// to; live records have none.
//
// A write whose acknowledgement is lost is sent again with the same
// expectation, until the context ends. If it had been stored, the record says
// so: the same bytes are there. So a caller can hold on through a restart of
// the server and is told the truth at its end.
//
// Reading holds nothing: an id is a direct get (asked again of the stream's
// leader before "unknown" is said, as a replica may lag), a list is a scan of
// the bucket by a consumer that is gone when the scan is, or is found by package
// index, and a wait is a KV watch. There is no polling, and an idle Store costs two
// handles.
//
// Lists are newest first: by the time a run was created, or by the time its
// record was stored if that is earlier, which it is only when a runner's clock
// is ahead. That rule lets a scan begin near the end of the stream and stop as
// soon as what it has not read must be older than the page; see list.go.
//
// Which runners are online is told by the server's clock alone: the time a card
// was stored against the time of the answer.
package store
