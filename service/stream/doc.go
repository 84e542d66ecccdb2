// Package stream has what every user of a JetStream stream needs beyond the
// client's calls: the spelling of the API's subjects, reads of the stream's
// leader, publishing on condition of a subject's last message, and when to try
// again.
//
// A write whose answer was lost may have been stored. So whoever publishes on a
// condition and is told "wrong last sequence" reads the leader before believing
// that somebody else has written: [Stream.Put] does that. A direct get may be
// answered by a replica that is behind; [Stream.Last] and [Stream.Next] ask the
// leader.
package stream
