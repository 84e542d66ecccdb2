//go:build unix && !linux

package glance

import (
	"os"
	"syscall"
)

func ownerOf(info os.FileInfo) (uid, gid uint32) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid, st.Gid
	}
	return 0, 0
}
