package lines

import (
	"strconv"
	"strings"
)

// signals are Linux's, by number: the runner's system may be another than
// ours, and a shell's exit code has Linux's meaning on all of them for those
// that matter.
var signals = [...]string{
	"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
	"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
}

// SignalNumber is the number of a name such as SIGKILL or "signal 34"; 0 if
// there is none.
func SignalNumber(name string) int {
	short, isName := strings.CutPrefix(name, "SIG")
	for number, known := range signals {
		if isName && short == known {
			return number
		}
	}
	number, _ := strconv.Atoi(strings.TrimPrefix(name, "signal "))
	return number
}
