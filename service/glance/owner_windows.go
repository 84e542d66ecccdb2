package glance

import "os"

// ownerOf: owners have no numbers on Windows; the names stay those of 0.
func ownerOf(os.FileInfo) (uid, gid uint32) { return 0, 0 }
