package sandbox

import (
	"bytes"
	"os"
	"slices"
	"strconv"
)

func hasArg(pid int, arg string) bool {
	cmdline, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return false
	}
	args := bytes.Split(cmdline, []byte{0})
	return slices.ContainsFunc(args, func(one []byte) bool { return string(one) == arg })
}
