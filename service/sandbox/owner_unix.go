//go:build unix

package sandbox

// OwnerOf tells the user and group that an account's files have. It is found by name or number, unless done is closed first.
func OwnerOf(account string, done <-chan struct{}) (uid, gid int, err error) {
	who, err := findAccount(account, done)
	return who.uid, who.gid, err
}
