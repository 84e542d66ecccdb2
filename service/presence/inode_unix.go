//go:build unix

package presence

import (
	"fmt"
	"os"
	"syscall"
)

// deviceAndInode of a file or directory, "device:inode".
func deviceAndInode(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
