//go:build !linux

package hangfs

// Main does nothing here: such file systems are tested on Linux.
func Main() {}
