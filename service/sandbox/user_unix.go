//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is who a process runs as.
type account struct {
	name   string
	home   string
	cred   *syscall.Credential // nil means as this process
	uid    int
	gid    int
	groups []uint32
	lent   bool // from the numbers that are nobody's; to be given back
}

// findAccount looks a user up by name, or else by number. A number that has no entry in the user database runs with that number as user and group and no others.
func findAccount(nameOrID string) (account, error) {
	op := fmt.Sprintf("run as user %q", nameOrID)
	found, err := user.Lookup(nameOrID)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		id, numErr := strconv.ParseUint(nameOrID, 10, 31)
		if numErr != nil {
			return account{}, startErrorf(op, "no such user")
		}
		found, err = user.LookupId(nameOrID)
		var unknownID user.UnknownUserIdError
		if errors.As(err, &unknownID) {
			return withCredential(account{name: nameOrID, home: "/", uid: int(id), gid: int(id)}), nil
		}
	}
	if err != nil {
		return account{}, startErrorf(op, "%w", err)
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return account{}, startErrorf(op, "user id %q is not a number", found.Uid)
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return account{}, startErrorf(op, "group id %q is not a number", found.Gid)
	}
	who := account{name: found.Username, home: found.HomeDir, uid: uid, gid: gid}
	groups, err := found.GroupIds()
	if err != nil {
		return account{}, startErrorf(op, "its groups: %w", err)
	}
	for _, group := range groups {
		id, err := strconv.ParseUint(group, 10, 32)
		if err != nil {
			return account{}, startErrorf(op, "group id %q is not a number", group)
		}
		who.groups = append(who.groups, uint32(id))
	}
	return withCredential(who), nil
}

// withCredential adds what the kernel is asked for, which is nothing if the account is this process's own: only root may ask.
func withCredential(who account) account {
	if who.uid == os.Geteuid() {
		return who
	}
	who.cred = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid), Groups: who.groups}
	return who
}

func (a account) env() []string {
	if a.name == "" {
		return nil
	}
	return []string{"HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name}
}
