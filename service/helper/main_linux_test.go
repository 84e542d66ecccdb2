package helper_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service/helper"
)

func TestMain(m *testing.M) {
	helper.Main(serve)
	goleak.VerifyTestMain(m)
}

// serve does in a helper what a test wants done.
func serve(request []byte) []byte {
	switch word, rest, _ := strings.Cut(string(request), " "); word {
	case "hang":
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(3)
	case "environment":
		return []byte(strings.Join(os.Environ(), "\n"))
	case "long":
		return []byte(strings.Repeat(rest, 1<<20))
	}
	return append([]byte("served "), request...)
}
