// Package schedule is a fleet's schedules as both sides see them: definitions in
// JetStream, which the NATS server itself fires, and what is known of each.
//
// The stream RUNNER_SCHEDULE has a message for each schedule on
// runner.schedule.def.<name>, whose body is a TaskRequest and whose headers say
// when the server fires it (Nats-Schedule) and what Runnel makes of a fire
// (Runner-Schedule). Fires go to runner.schedule.fired.<any|all>.<pool>.<name> of
// the same stream and live for a day. A definition that another NATS client wrote
// has no Runner-Schedule: the defaults apply.
//
// Each tick has a run, whose id is made of the schedule's name and of the tick in
// UTC, or is counted in a record that says why it has none. Package
// service/schedule/fires takes fires; package client writes definitions.
package schedule
