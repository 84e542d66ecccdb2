// Package mounts tells which mount a path is on without touching that mount, so
// that a caller knows whether a system call there may never return.
//
// A Table is one reading of /proc/self/mountinfo. Table.Find walks a path by its
// spelling, along the tree of mounts, and reads symbolic links only on mounts of
// local types: it asks nothing of a server that may be dead. The walk ends at
// the first mount that may hang (Mount.MayHang), because everything beyond is
// behind it.
//
// What has to be done on such a mount belongs in a process that can be given up.
// A Budget bounds how many of those there are: when as many as it allows hang on
// one mount, the next request is refused at once, with the mount's name.
//
// Only Linux tells its mounts so. Elsewhere a Table is empty, and no mount may
// hang.
package mounts
