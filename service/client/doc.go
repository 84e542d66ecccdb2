// Package client asks a fleet of runners, from any Go program with a NATS
// connection.
//
// Begin with New, which takes a *nats.Conn and sends nothing yet. Keep one Client for
// as long as the connection: it is safe for concurrent use.
//
// Choose by what you want to know:
//
//   - Run starts a task on one runner, follows its output and returns how it
//     ended. RunAll does so on every runner of a Target.
//   - Start only starts; Wait, Status, Query and Follow see the run later, from
//     this program or another.
//   - Glance and Maint ask one runner. FanOut asks all of them and yields one
//     Reply for each, also for those that did not answer.
//   - Runners lists the fleet.
//   - Enqueue stores work that must not be lost while no runner is there, and
//     PutSchedule has the NATS server start a task at its times.
//   - Schedule starts a job of a pipeline, a graph of tasks; WatchJob follows it.
//
// A Target says which runners are meant; its zero value is any one of the fleet.
//
// A context bounds each call. Without a deadline, Run, Follow and Wait go on for as
// long as the run does, and outlast a NATS server that is restarted; calls that are
// answered at once are bounded by Options.Timeout. A cancelled context ends the call
// and not the run: end that with Abort.
//
// To make a start safe to repeat, give the request an id: the same id and
// request again return the first run.
//
// # Errors
//
// A *RemoteError is a runner's answer, with a code. Any other error means that
// no runner has answered. Test for a condition with errors.Is and the variables
// of this package (ErrUnknownRun, ErrFull, ErrNoAnswer and so on): they match
// whether this package found the condition or a runner did. That a task failed
// is no error but an Outcome.
package client
