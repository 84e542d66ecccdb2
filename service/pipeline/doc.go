// Package pipeline runs pipelines: graphs of tasks whose runs are ordinary ones of
// the fleet, so that their output is in JetStream like any other run's.
//
// Start makes an engine. Any number of them may share a fleet: one holds a lease,
// decides, and answers the verb; another goes on when it dies. What it decides with
// is in the packages below this one, of which definition, graph and waitlist are pure: none of
// them knows NATS, a clock or a goroutine.
package pipeline
