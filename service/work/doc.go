// Package work is the durable queue as both sides see it: work that waits in
// JetStream until a runner has a place for it.
//
// The stream RUNNER_QUEUE has one message for each piece of work, on
// runner.queue.work.<pool>.<priority>.<id>; its body is a TaskRequest. A message
// stays until the record of the work's last attempt is final, so that what is in
// the stream is what is waiting or running, and nothing else. A full stream
// refuses more; nothing in it ages.
//
// The bucket runner_queue has what the queue knows besides: which pools are
// paused, who holds the keys of concurrency, which runners have refused which
// work, and the requests of work that has failed.
//
// The first user of the queue makes stream and bucket. Package service/queue takes
// work out; package client puts it in.
package work
