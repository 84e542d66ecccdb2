//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// account is who a process runs as.
type account struct {
	name   string
	home   string
	shell  string
	cred   *syscall.Credential // nil means as this process
	uid    int
	gid    int
	groups []uint32
	lent   bool // from the numbers that are nobody's; to be given back
}

// findAccount looks a user up by name, or else by number. A number that has no entry in the user database runs with that number as user and group and no others.
func findAccount(nameOrID string, done <-chan struct{}) (account, error) {
	op := fmt.Sprintf("run as user %q", nameOrID)
	entry, err := lookUpAccount(nameOrID, done)
	if errors.Is(err, errNoAccount) {
		id, numErr := strconv.ParseUint(nameOrID, 10, 31)
		if numErr != nil {
			return account{}, startErrorf(op, "no such user")
		}
		return withCredential(account{name: nameOrID, home: "/", shell: defaultShell, uid: int(id), gid: int(id)}), nil
	}
	if err != nil {
		return account{}, startErrorf(op, "%w", err)
	}
	who := account{name: entry.name, home: entry.home, shell: entry.shell, uid: entry.uid, gid: entry.gid}
	if who.groups, err = groupsOf(entry, done); err != nil {
		return account{}, startErrorf(op, "its groups: %w", err)
	}
	return withCredential(who), nil
}

// ownAccount is this process's own.
var ownAccount = sync.OnceValue(func() account {
	who, err := findAccount(strconv.Itoa(os.Geteuid()), nil)
	if err != nil {
		return account{name: strconv.Itoa(os.Geteuid()), home: "/", shell: defaultShell}
	}
	return who
})

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
	return []string{"HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name, "SHELL=" + a.shell}
}

// missingFrom gives those of an account's variables that an environment does not have.
func (a account) missingFrom(env []string) (missing []string) {
	for _, entry := range a.env() {
		name, _, _ := strings.Cut(entry, "=")
		if _, there := lookupEnv(env, name); !there {
			missing = append(missing, entry)
		}
	}
	return missing
}
