// Package sandbox starts one process, holds it and everything it starts, moves its output, and says how it ended. It knows the operating system and nothing else of
// Runnel.
//
// # The model
//
// A Host is this machine as a place to run things on; Open looks at what it can do. Start makes a Process: its own session and process group, its own standard
// output and error pipes, standard input from a file in memory, and, where there is a cgroup v2 directory to write in, a leaf cgroup of its own that it is born
// in. Pump is the one goroutine of a process: it reads both pipes and waits for the end of the main process. A process that has been started must be pumped; that
// is what reaps it.
//
// # The tree
//
// What a run starts must not outlive it. The kernel's name for "a run and all it started" is, best first:
//
//   - a leaf cgroup: nothing can leave it, cgroup.kill ends it in one step, and an empty one can be removed, so "is anybody left" costs one system call;
//   - else, on Linux, what a scan of /proc finds: the session, the process group, the children of what is found, the environment marker that only this run has,
//     and, when the main process has ended, whoever still holds the run's pipes. What is found is stopped, and the scan repeated until it finds nobody new; then all are
//     killed. Not found: a process that left session and group, cleared its environment, closed the pipes, and whose parent has ended;
//   - else, on other unixes, the process group. Not found: what left the group.
//
// Other processes are signalled through a pidfd that was checked after it was opened, so that a number that has been used again is never hit.
//
// # The end
//
// When the main process has ended, the rest of its tree is killed, what is in the pipes is read, the main process is reaped and the leaf removed, in that order:
// until it is reaped its number, which is that of its group and session, can't be used again.
//
// A failed start is a *StartError that names what was missing; a command that ran and failed is a Status. They are never mixed up.
package sandbox
