// Package hangfs mounts file systems that stop answering, for tests of what must
// survive a dead server. It speaks to /dev/fuse itself.
//
// A process of its own serves each mount, so that a test that dies while it
// hangs there frees itself: with that process the kernel ends every call that
// waits. TestMain must call Main first.
package hangfs
