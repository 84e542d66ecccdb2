// Command runnel-shim is the first step inside a sandbox. A runner starts it in new namespaces, tells it over a socket what to set up and what to execute, and hears from it how that
// ended; see package sandbox. It is a program of its own because it starts several times faster than the whole runner.
package main

import (
	"fmt"
	"os"

	"github.com/runnel-io/runnel/service/sandbox"
)

func main() {
	sandbox.ShimMain()
	fmt.Fprintln(os.Stderr, "runnel-shim is started by a runner, not by hand")
	os.Exit(2)
}
