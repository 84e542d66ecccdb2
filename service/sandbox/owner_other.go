//go:build !unix

package sandbox

// OwnerOf refuses: nothing is run here.
func OwnerOf(string, <-chan struct{}) (uid, gid int, err error) { return 0, 0, errRefused }
