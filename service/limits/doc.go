// Package limits is the one table of everything that a run can be held to.
//
// # The model
//
// A Row says what a limit is called in a task, which kind of value it has, which flag sets it, and
// what holds a run to it: a cgroup controller, a resource limit of each process, or the runner
// itself. Rows returns the table in the order in which limits are listed, lowered and written.
//
// Text is limits as somebody wrote them, by name. Parse reads them into a Set. A Set has only the
// limits that were named: one that is absent bounds nothing, and one that was named "max" bounds
// nothing either, but keeps a default away.
//
// A task, the operator's policy and the limits of a language are each a Set, read by the same
// parser. Over lays one Set over another. Lower holds a Set to a maximum: whatever the spelling was,
// no value is above the maximum afterwards, because values are compared and never texts. Cgroup and
// Rlimits say what the kernel is told, and only for what was named.
//
// The package knows neither protobuf nor the operating system.
package limits
