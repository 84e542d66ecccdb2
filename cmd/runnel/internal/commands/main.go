// Package commands is the command line of runnel: its root, and the few commands that
// belong to no other package.
//
// The packages beside this one have the commands, one a file, each named after its
// noun in service and in service/client:
//
//   - runs: run, code, logs, show, ps, wait, abort, rm.
//   - pipelines: pipeline and its own.
//   - hosts: ls, forget, glance, maint.
//   - web: gateway.
//   - serve and bench are the two commands that are programs by themselves.
//
// and what the commands share:
//
//   - cli is the mechanism: flags that the environment and a file can set, help,
//     signals, and errors that end the process.
//   - term decides how things look on a terminal and in a pipe.
//   - connect finds the NATS server: flag, environment, the selected `nats`
//     context, the local `runnel serve`, or one inside the command.
//   - app is what every command gets: streams, global flags, a session, the summary
//     of a fan-out.
//
// A command writes its result to standard output, and everything else to standard
// error. An error is one line, "runnel: cannot X: cause", and Runnel's own
// errors end with code 125, so that they can be told from a run's.
package commands

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/prunner"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/sandbox"
)

// Main runs the command line of this process and ends it.
func Main() {
	sandbox.ShimMain()  // for runs that are isolated, where runnel-shim isn't beside this program
	glance.HelperMain() // for what may hang
	// What a shell or a service manager left open is not the tasks' to have.
	if err := sandbox.HideDescriptors(); err != nil {
		os.Exit(cli.Report(fmt.Errorf("cannot hide inherited descriptors: %w", err), os.Stderr))
	}
	std := app.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	if args, yes := prunner.Asked(os.Args); yes {
		os.Exit(cli.Report(prunner.Run(context.Background(), app.New(std), args, service.Version), os.Stderr))
	}
	err := run(context.Background(), os.Args[1:], std)
	os.Exit(cli.Report(err, os.Stderr))
}

// run runs one command line.
func run(ctx context.Context, args []string, std app.Stdio) error {
	a := app.New(std)
	root := newRoot(a)
	root.SetArgs(args)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		cli.PlainUsages(root)
	}
	a.Again = func(fresh *app.App) error {
		root := newRoot(fresh)
		root.SetArgs(args)
		return root.ExecuteContext(ctx)
	}
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.Printed()
	}
	return advise(err)
}
