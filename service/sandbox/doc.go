// Package sandbox starts one process, holds it and everything it starts, moves its output, and says how it ended. It knows the operating system and nothing else of
// Runnel.
//
// # The model
//
// A Host is this machine as a place to run things on; Open looks at what it can do. Start makes a Process (Prepare and Prepared.Start do, in two steps): its own session and process group, its own standard
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
//
// # Limits
//
// Limits of a run as a whole are written to its leaf before it is born there, so they need a cgroup v2 subtree of this process's own with controllers in it: one that systemd delegated, or in
// which nobody else is. Then this process moves itself into an inner cgroup called runner, and nobody else ever, because controllers are given only to cgroups inside one that has no processes.
// Processor time of the whole run, and memory where there is no controller for it, are looked at by a meter (meter_linux.go).
// After the end, the leaf tells processor time, peak memory and whether the kernel killed for memory. Limits of each process (setrlimit) need the shim. A limit that can't be set fails the
// start.
//
// # Isolation and the shim
//
// Standard is: new PID, mount, IPC and UTS namespaces with a /proc, /tmp, /var/tmp and /dev/shm of their own and private mounts, no new privileges, no capabilities, nothing of the
// runner's environment, its files (Config.Hide) hidden, and an account that is not root; without one named, a number that no other run has. Strict is that and: a network namespace with lo alone, a
// read-only root with Dir and Writable to write in, six devices in /dev, no /run, /home, /root, /mnt, /media and /sys, no socket files of the host, Landlock, a seccomp filter, fixed resource limits, and a number of
// processes.
//
// A shim, a small process that is started when it is first needed, forks these runs; it is told over a socket (shim_linux.go). A fork of a Go program may only make system calls, so all that is to
// be done is made a list of them first (steps_linux.go). The order of steps, and why:
//
//  1. The shim looks at paths and makes the list; nothing has happened yet, and a mistake is an answer.
//  2. The first child is born in its namespaces, as the runner's own child. It takes copies of what must stay visible, makes the root read-only, covers and puts back (mounts_linux.go), while all
//     paths still mean what they mean to the shim; turns on lo; and makes Landlock's rules, which name places in the new view.
//  3. It makes the second child, in the leaf: the first is outside, so that limits count the run alone, and so that it lives to tell how the leaf ended.
//  4. The second child sets resource limits and its streams, marks all other descriptors to be closed, drops its bounding set, enters Landlock, takes on the account and gives up what
//     capabilities are left, enters its directory as that account, resets signals, and last enters the filter, which forbids much of the above. Then it executes the program.
//  5. A step that fails is told by its number: that is a start error, which no exit code can be taken for. If none fails, exec closes the pipe that would have told.
//  6. The first child reaps what ends in the namespace until the second has ended, kills and reaps what is left, writes the second's status to the runner's pipe, and ends. The runner takes
//     that word for the end: to take down the namespace's mounts takes the kernel a while, so the first child is reaped in the background.
//
// # What works where
//
//	                              root, subtree with    root, cgroup v2         root, no     ordinary user, user      ordinary user    other
//	                              controllers           without controllers     cgroup v2    namespaces               without          unixes
//	found and killed by           cgroup                cgroup                  scan         scan; cgroup if given    scan             group
//	cpu, io, pids                 yes                   refused                 refused      only if given            refused          refused
//	memory                        yes                   by looking              by looking   by looking if not given  by looking       refused
//	limits of each process        yes                   yes                     yes          yes                      yes              refused
//	standard                      yes                   yes                     yes          yes, as the runner's     refused          refused
//	strict                        with Landlock         with Landlock           with it      account alone            refused          refused
//	another account (User)        yes                   yes                     yes          refused                  refused          root only
//	peak memory                   yes                   biggest process         as before    as before                as before        biggest
//
// A container is "no cgroup v2" unless its cgroup directory is writable, and can isolate only if it may make namespaces. Isolation is written for amd64 and arm64. Facts tells what a host
// gives, and Probe tries it.
package sandbox
