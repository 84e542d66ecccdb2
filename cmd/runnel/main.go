// Command runnel runs commands, looks at hosts and keeps clocks right across a
// fleet, over NATS and nothing else.
//
// This package wires the others together, and it is the only one that reads
// flags, the environment and configuration files, or ends the process. A
// command is a file of the name that its noun has in service and in
// service/client too.
//
//   - root.go has the table of commands and the global flags; help.go shows
//     them; flags.go lets the environment set them, config.go a file.
//   - connect.go finds the NATS server: flag, environment, the selected `nats`
//     context, the local `runnel serve`, or one inside the command.
//   - local.go is what a `runnel serve` leaves for the commands of the same user.
//   - output.go, table.go and progress.go decide how things look.
//
// What a command was asked for goes to standard output; all else, to standard
// error. An error is one line, "runnel: cannot X: cause", and Runnel's own
// errors end with code 125, so that they can be told from a run's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/runnel-io/runnel/service/sandbox"
)

// exitOwn is the exit code of Runnel's own errors.
const exitOwn = 125

func main() {
	sandbox.ShimMain() // for runs that are isolated, where runnel-shim isn't beside this program
	// What a shell or a service manager left open is not the tasks' to have.
	if err := sandbox.HideDescriptors(); err != nil {
		os.Exit(report(fmt.Errorf("cannot hide inherited descriptors: %w", err), os.Stderr))
	}
	err := run(context.Background(), os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
	os.Exit(report(err, os.Stderr))
}

// stdio is what a command reads and writes.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// run runs one command line.
func run(ctx context.Context, args []string, std stdio) error {
	a := newApp(std)
	root := newRoot(a)
	root.SetArgs(args)
	a.again = func(fresh *app) error {
		root := newRoot(fresh)
		root.SetArgs(args)
		return root.ExecuteContext(ctx)
	}
	return root.ExecuteContext(ctx)
}

// exitError ends the process with a code of its own: that of a run, say. With
// no message, everything has been said already.
type exitError struct {
	code    int
	message string
}

func (e *exitError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.message
}

// report tells of the error and returns the code to exit with.
func report(err error, w io.Writer) int {
	if err == nil {
		return 0
	}
	if exit := (*exitError)(nil); errors.As(err, &exit) {
		if exit.message != "" {
			fmt.Fprintln(w, "runnel:", exit.message)
		}
		return exit.code
	}
	fmt.Fprintln(w, "runnel:", err)
	return exitOwn
}
