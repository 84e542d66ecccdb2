//go:build unix

package sandbox

// OwnerOf tells the user and group that an account's files have. It is found by name or number.
func OwnerOf(account string) (uid, gid int, err error) {
	who, err := findAccount(account)
	return who.uid, who.gid, err
}
