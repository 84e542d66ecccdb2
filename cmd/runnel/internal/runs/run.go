package runs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// runCommand is `runnel run`: a task, where it is to run, and how its output is
// shown.
type runCommand struct {
	*app.App
	command, file, stdin string
	params               []string
	tags                 map[string]string
	task                 pb.Task
	log                  pb.Log
	id                   string
	timeout              time.Duration
	grace, expires       time.Duration

	where  app.TargetFlags
	fan    app.FanFlags
	limits limitFlags
	queue  queueFlags

	detach, asJSON, raw bool
}

func newRunCommand(a *app.App) *cobra.Command {
	r := &runCommand{App: a}
	cmd := &cobra.Command{
		Use:     "run [flags] [--] PROGRAM [ARG...]",
		GroupID: cli.GroupRun,
		Short:   "Run a command on a runner, or on many, and print what it prints",
		Example: `  runnel run -- uptime                           exact arguments, no shell
  runnel run -c 'df -h / | tail -1' --on web1    shell text, on that runner
  runnel run -f fix.sh --all --where 'labels.env == "prod"'
  runnel run --queue --retries 2 -- ./train      for a runner that has a place`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseFlagsAfter(cmd, args); err != nil {
				return err
			}
			req, err := r.request(args)
			if err != nil {
				return err
			}
			return r.run(cmd.Context(), req)
		},
	}
	cmd.Flags().SetInterspersed(false) // what comes after PROGRAM is its own
	r.addFlags(cmd)
	return cmd
}

// refuseFlagsAfter refuses a flag of ours after the program: the program would get
// it, and the run go anywhere, say. Who means that writes -- before the program.
// Short flags are left to the program; too many of them mean something there.
func refuseFlagsAfter(cmd *cobra.Command, args []string) error {
	if cmd.ArgsLenAtDash() >= 0 || len(args) == 0 {
		return nil
	}
	for _, arg := range args[1:] {
		name, long := strings.CutPrefix(arg, "--")
		if long && name == "" {
			return nil // what follows is the program's by its own rules
		}
		name, _, _ = strings.Cut(name, "=")
		if long && (cmd.Flags().Lookup(name) != nil || cmd.InheritedFlags().Lookup(name) != nil) {
			return fmt.Errorf("--%s after %q would be the program's: put it before the program, or write -- before the program to give it that flag", name, args[0])
		}
	}
	return nil
}

func (r *runCommand) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&r.command, "command", "c", "", "run shell `TEXT` with bash")
	flags.StringVarP(&r.file, "file", "f", "", "run a bash script: `FILE`, or - for standard input")
	flags.StringArrayVarP(&r.params, "param", "p", nil, "environment for it, `K=V`; may be repeated")
	flags.StringVar(&r.stdin, "stdin", "", "give it standard input from `FILE`, or - for this command's")
	flags.StringVar(&r.task.Dir, "dir", "", "working `DIRECTORY`")
	flags.StringVar(&r.task.User, "as", "", "account to run as: `USER`")
	flags.StringVar(&r.task.Name, "name", "", "a `NAME` to show in lists")
	flags.Var(cli.KeyValues{To: &r.tags}, "tag", "a tag `K=V` for its record; may be repeated")
	flags.StringVar(&r.id, "id", "", "an `ID` that you choose: it never runs twice")
	cli.Group(flags, cli.FlagsWhat, "command", "file", "param", "stdin", "dir", "as", "name", "tag", "id")
	r.CompleteFlag(cmd, "tag", tagPairs)

	r.where.Add(r.App, cmd)
	r.fan.Add(cmd)

	flags.DurationVar(&r.timeout, "timeout", 0, "kill the run after this long (the time to wait for a reply is $NATS_TIMEOUT)")
	flags.DurationVar(&r.grace, "grace", 0, "from SIGTERM to SIGKILL, when it is ended (default 10s)")
	flags.DurationVar(&r.expires, "expires", 0, "drop it if it waits longer than this for a place")
	flags.Int64Var(&r.log.Width, "width", 0, "at most `N` characters in a record (default 500)")
	flags.Int64Var(&r.log.Pack, "pack", 0, "at most `N` lines in a message; 1 for the old form")
	flags.Var(app.Size{To: &r.log.MaxBytes}, "max-output", "store at most `BYTES`, or 64M, of output\nand drop the rest (default 1 GiB)")
	flags.StringVar(&r.log.Overflow, "overflow", "", "what happens when its spool is full: `block` or drop")
	flags.BoolVar(&r.log.Merge, "merge", false, "one pipe for both streams: exact order; lines\nare not marked as stdout or stderr")
	cli.Group(flags, cli.FlagsHow, "timeout", "grace", "expires", "width", "pack", "max-output", "overflow", "merge")
	cli.CompleteValues(cmd, "overflow", "block", "drop")

	r.limits.add(cmd)
	r.queue.add(cmd)

	flags.BoolVarP(&r.detach, "detach", "d", false, "print the id and leave")
	flags.BoolVar(&r.asJSON, "json", false, "print the records of the output, one JSON object a line")
	flags.BoolVar(&r.raw, "raw", false, "print the exact bytes and nothing else")
	cli.Group(flags, cli.FlagsOutput, "detach", "json", "raw")
}

// request makes the task of flags and arguments, and refuses contradictions.
func (r *runCommand) request(args []string) (*pb.TaskRequest, error) {
	if err := r.validate(args); err != nil {
		return nil, err
	}
	r.task.Argv = args
	if r.command != "" {
		r.task.Commands = []string{r.command}
	}
	if err := r.readFiles(&r.task); err != nil {
		return nil, err
	}
	return r.complete()
}

// complete makes a request of the task and of what flags say of every kind of it.
func (r *runCommand) complete() (*pb.TaskRequest, error) {
	task := &r.task
	task.Tags = r.tags
	r.limits.apply(task)
	if r.log.Width != 0 || r.log.Pack != 0 || r.log.MaxBytes != 0 || r.log.Overflow != "" || r.log.Merge {
		task.Log = &r.log
	}
	for _, d := range []struct {
		value time.Duration
		field *string
	}{{r.timeout, &task.Timeout}, {r.grace, &task.Grace}, {r.expires, &task.Expires}} {
		if d.value != 0 {
			*d.field = d.value.String()
		}
	}
	if err := r.queue.apply(task); err != nil {
		return nil, err
	}
	for _, param := range r.params {
		name, value, ok := strings.Cut(param, "=")
		if !ok {
			return nil, fmt.Errorf("cannot use --param %q: it is K=V", param)
		}
		task.Params = append(task.Params, &pb.Param{Name: name, Value: value})
	}
	if r.id == "" {
		r.id = ulid.Make().String() // known from the start, so that ^C can name it
	}
	req := &pb.TaskRequest{
		ApiVersion: pb.APIVersion, Kind: pb.Kind,
		Metadata: &pb.Metadata{Id: r.id}, Spec: &pb.TaskSpec{Task: task},
	}
	return req, req.Validate()
}

func (r *runCommand) validate(args []string) error {
	given := 0
	for _, is := range []bool{len(args) > 0, r.command != "", r.file != ""} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return errors.New("there is nothing to run: give a program after --, or -c TEXT, or -f FILE (see runnel run --help)")
	case given > 1 && len(args) > 0:
		return fmt.Errorf("cannot run %q and a shell's text or a script at once; what they are to know is given with --param", args[0])
	case given > 1:
		return errors.New("cannot run a shell's text and a script at once")
	case r.file == "-" && r.stdin == "-":
		return errors.New("cannot read both the script and its standard input from standard input")
	case r.asJSON && r.raw:
		return errors.New("cannot print both records and exact bytes: --json or --raw")
	}
	if err := r.fan.Check(r.where.Target); err != nil {
		return err
	}
	if err := r.queue.validate(r.where.Target, r.detach); err != nil {
		return err
	}
	return r.where.Validate()
}

// readFiles reads the script and the standard input.
func (r *runCommand) readFiles(task *pb.Task) error {
	if r.file != "" {
		content, err := r.read(r.file)
		if err != nil {
			return fmt.Errorf("cannot read the script %s: %w", r.file, cli.Cause(err))
		}
		if err := refuseOtherLanguage(r.file, content); err != nil {
			return err
		}
		if task.File, err = script(content); err != nil {
			return err
		}
	}
	if r.stdin != "" {
		content, err := r.read(r.stdin)
		if err != nil {
			return fmt.Errorf("cannot read standard input from %s: %w", r.stdin, cli.Cause(err))
		}
		task.Stdin = content
	}
	return nil
}

// otherLanguages are those of package lang by the names and extensions that they have.
var otherLanguages = []string{"python", "py", "node", "js", "c", "c++", "cpp", "cxx", "go", "rust", "rs", "java", "ruby", "rb", "php", "perl", "pl", "lua"}

// refuseOtherLanguage refuses a script that bash would misread: what it begins
// with, or else its name, says that it is another language's.
func refuseOtherLanguage(path string, content []byte) error {
	first, _, _ := bytes.Cut(content, []byte("\n"))
	if bytes.HasPrefix(first, []byte("#!/bin/bash")) || bytes.HasPrefix(first, []byte("#!/usr/bin/env bash")) || bytes.HasPrefix(content, []byte("\x1f\x8b")) {
		return nil
	}
	isOther := slices.Contains(otherLanguages, languageOfFile(path))
	if bytes.HasPrefix(first, []byte("#!")) {
		isOther = slices.ContainsFunc(otherLanguages, func(name string) bool { return len(name) > 2 && bytes.Contains(first, []byte(name)) })
	}
	if isOther {
		return fmt.Errorf("cannot run %s with bash: it is a program in another language (runnel code run %s)", path, path)
	}
	return nil // the request's own check says how a script begins
}

func (r *runCommand) read(path string) ([]byte, error) {
	from := r.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	return io.ReadAll(io.LimitReader(from, maxRead))
}

// maxRead is more than any server takes in one request.
const maxRead = 65 << 20

// gzipFrom is the size above which a script is sent compressed.
const gzipFrom = 32 << 10

func script(content []byte) (*pb.File, error) {
	if len(content) < gzipFrom {
		return &pb.File{Content: content}, nil
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("cannot compress the script: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress the script: %w", err)
	}
	return &pb.File{Content: packed.Bytes(), Gzip: true}, nil
}

// run asks and shows; a run's own end is an exitError.
func (r *runCommand) run(ctx context.Context, req *pb.TaskRequest) error {
	do := func(ctx context.Context, s *app.Session) error { return r.runIn(ctx, s, req) }
	if r.detach || r.queue.is {
		return r.WithSession(ctx, do) // a fleet of its own would end with the command
	}
	return r.WithAnySession(ctx, do)
}

func (r *runCommand) runIn(ctx context.Context, s *app.Session, req *pb.TaskRequest) error {
	if max := s.Nc.MaxPayload(); int64(len(req.GetSpec().GetTask().GetStdin()))*4/3 > max {
		return fmt.Errorf("cannot send %s of standard input: a request has at most %s", term.Size(int64(len(req.GetSpec().GetTask().GetStdin()))), term.Size(max))
	}
	switch {
	case r.queue.is:
		return r.queueIt(ctx, s, req)
	case r.detach && r.where.All:
		return r.detachAll(ctx, s, req)
	case r.detach:
		return r.detachOne(ctx, s, req)
	case r.where.All:
		return r.runAll(ctx, s, req)
	}
	return r.runOne(ctx, s, req)
}

// nobodyIn says that a pool has nobody, if that is why nobody took a run.
func nobodyIn(ctx context.Context, s *app.Session, pool string, err error) error {
	if pool == "" || !errors.Is(err, client.ErrNoRunners) {
		return err
	}
	runners, listErr := s.Runners(ctx)
	if listErr != nil || slices.ContainsFunc(runners, func(r client.Runner) bool { return r.Online && slices.Contains(r.Card.GetPools(), pool) }) {
		return err // they are full, or draining
	}
	return fmt.Errorf("no online runner in pool %s (runnel ls)", pool)
}
