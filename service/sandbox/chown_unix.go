//go:build unix

package sandbox

import "os"

// Chown gives files that were made for a run to the account it runs as, by name or number.
func Chown(account string, paths ...string) error {
	who, err := findAccount(account)
	if err != nil {
		return err
	}
	if who.cred == nil { // this process's own
		return nil
	}
	for _, path := range paths {
		if err := os.Lchown(path, who.uid, who.gid); err != nil {
			return startErrorf("give "+path+" to "+account, "%w", err)
		}
	}
	return nil
}
