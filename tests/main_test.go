package tests

import (
	"os"
	"testing"

	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestMain is a server's or a runner's process, too: what is killed must be one.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	glance.HelperMain()
	if config := os.Getenv(asProcess); config != "" {
		os.Exit(beProcess(config))
	}
	code := m.Run()
	rig.RemoveProgram()
	os.Exit(code)
}
