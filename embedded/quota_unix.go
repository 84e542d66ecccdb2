//go:build unix

package embedded

import "syscall"

const errQuota = syscall.EDQUOT
