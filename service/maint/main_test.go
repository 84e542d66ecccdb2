package maint

import (
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childRole in the environment makes this binary a child of a test.
const childRole = "MAINT_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childRole) {
	case "daemon": // a process that is called like a time daemon
		os.Stdout.WriteString("up\n")
		io.Copy(io.Discard, os.Stdin)
	case "unprivileged":
		os.Exit(syncUnprivileged())
	default:
		goleak.VerifyTestMain(m)
	}
}
