package mounts_test

import (
	"os"
	"testing"

	"github.com/runnel-io/runnel/tests/hangfs"
)

func TestMain(m *testing.M) {
	hangfs.Main()
	os.Exit(m.Run())
}
