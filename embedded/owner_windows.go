package embedded

import "io/fs"

// ownedByUs is true: Windows gives every user a temporary directory of their own.
func ownedByUs(fs.FileInfo) bool { return true }
