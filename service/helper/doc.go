// Package helper lets a process that can be abandoned do work that may never return.
//
// A system call on a dead server's file system holds its thread for ever; ten
// thousand of them end a Go program, and a single one keeps it from exiting. So
// what touches such a mount is done by another process of the same program: a
// Pool starts it when it is first needed, asks it over a socket, and kills it
// when the answer takes longer than the caller waits. A process that doesn't even
// die holds its place in the mount's mounts.Budget, which refuses the next one.
//
// The program's main calls Main first. Where it doesn't, a Pool does the work in
// goroutines of its own, as many as the Budget allows and no more.
package helper
