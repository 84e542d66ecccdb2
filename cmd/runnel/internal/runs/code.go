package runs

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
)

// newCodeCommand is `runnel code`: source code in a language, compiled and run
// where it can't hurt.
func newCodeCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "code",
		GroupID: cli.GroupRun,
		Short:   "Run source code in a language, or list the languages",
		Example: `  runnel code run main.py -- one two < input
  runnel code languages`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCodeRunCommand(a), newCodeLanguagesCommand(a))
	return cmd
}

// codeCommand is `runnel code run`: a task like another, with a language.
type codeCommand struct {
	runCommand
	language, version string
}

func newCodeRunCommand(a *app.App) *cobra.Command {
	c := &codeCommand{runCommand: runCommand{App: a}}
	cmd := &cobra.Command{
		Use:   "run [flags] FILE [FILE...] [-- ARG...]",
		Short: "Compile and run a program, isolated from its host",
		Long: `Compile and run a program, isolated from its host, and end with its exit code.
The first FILE is where it starts; its extension tells the language. Standard
input is the program's. The compiler's messages are printed, too; a program that
does not compile ends with the compiler's exit code.`,
		Example: `  runnel code run main.py -- one two < input
  runnel code run main.c util.c util.h --memory-max 64M --wall-time 5s
  echo 'print(6*7)' | runnel code run --language python3 -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			files := args
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				files, c.task.Argv = args[:dash], args[dash:]
			}
			req, err := c.request(files)
			if err != nil {
				return err
			}
			return c.run(cmd.Context(), req)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.language, "language", "l", "", "the `LANGUAGE`, or an alias (default: by the file's extension)")
	flags.StringVar(&c.version, "version", "", "a `VERSION` of it, or the beginning of one (default: the runner's first)")
	flags.StringArrayVarP(&c.params, "param", "p", nil, "environment for it, `K=V`; may be repeated")
	flags.StringVar(&c.stdin, "stdin", "", "give it standard input from `FILE` instead of this command's")
	flags.StringVar(&c.task.User, "as", "", "account to run as: `USER`")
	flags.StringVar(&c.task.Name, "name", "", "a `NAME` to show in lists")
	flags.Var(cli.KeyValues{To: &c.tags}, "tag", "a tag `K=V` for its record; may be repeated")
	flags.StringVar(&c.id, "id", "", "an `ID` that you choose: it never runs twice")
	cli.Group(flags, cli.FlagsWhat, "language", "version", "param", "stdin", "as", "name", "tag", "id")
	c.CompleteFlag(cmd, "tag", tagPairs)
	c.where.Add(c.App, cmd)
	flags.DurationVar(&c.timeout, "timeout", 0, "kill it after this long, the compiler's time included")
	flags.DurationVar(&c.grace, "grace", 0, "from SIGTERM to SIGKILL, when it is ended (default none)")
	cli.Group(flags, cli.FlagsHow, "timeout", "grace")
	c.limits.add(cmd)
	flags.BoolVarP(&c.detach, "detach", "d", false, "print the id and leave")
	flags.BoolVar(&c.asJSON, "json", false, "print the records of the output, one JSON object a line")
	flags.BoolVar(&c.raw, "raw", false, "print the exact bytes and nothing else")
	cli.Group(flags, cli.FlagsOutput, "detach", "json", "raw")
	return cmd
}

// languageOf extensions that are no alias of their language.
var languageOf = map[string]string{"cc": "c++", "h": "c", "hpp": "c++", "mjs": "node", "cjs": "node"}

// languageOfFile is what the extension of a file says, for the runner to know.
func languageOfFile(path string) string {
	extension := strings.TrimPrefix(filepath.Ext(path), ".")
	return cmp.Or(languageOf[extension], extension)
}

// request makes the task of files.
func (c *codeCommand) request(files []string) (*pb.TaskRequest, error) {
	if len(files) == 0 {
		return nil, errors.New("there is nothing to run: give a file (see runnel code run --help)")
	}
	if c.asJSON && c.raw {
		return nil, errors.New("cannot print both records and exact bytes: --json or --raw")
	}
	if err := c.where.Validate(); err != nil {
		return nil, err
	}
	language := c.language
	if language == "" {
		language = languageOfFile(files[0])
	}
	if language == "" {
		return nil, fmt.Errorf("cannot tell the language of %s: give it with --language (runnel code languages)", files[0])
	}
	c.task.Language = &pb.Language{Name: language, Version: c.version}
	for _, file := range files {
		if err := c.addFile(file); err != nil {
			return nil, err
		}
	}
	if err := c.readInput(slices.Contains(files, "-")); err != nil {
		return nil, err
	}
	return c.complete()
}

// addFile reads a file into the task. One from standard input has the name that
// its language gives it.
func (c *codeCommand) addFile(path string) error {
	content, err := c.read(path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, cli.Cause(err))
	}
	if path == "-" {
		c.task.File = &pb.File{Content: content}
		return nil
	}
	name := filepath.ToSlash(filepath.Clean(path))
	if !filepath.IsLocal(path) {
		name = filepath.Base(path)
	}
	c.task.Files = append(c.task.Files, &pb.SourceFile{Name: name, Content: base64.StdEncoding.EncodeToString(content), Encoding: "base64"})
	return nil
}

// readInput reads what the program is to read: this command's standard input,
// unless that is a terminal or had the source in it.
func (c *codeCommand) readInput(taken bool) (err error) {
	from := c.stdin
	if from == "" {
		if file, ok := c.In.(*os.File); ok {
			info, err := file.Stat()
			if err != nil || info.Mode()&fs.ModeCharDevice != 0 {
				return nil
			}
		}
		from = "-"
	}
	switch {
	case from != "-" || !taken:
		if c.task.Stdin, err = c.read(from); err != nil {
			return fmt.Errorf("cannot read standard input from %s: %w", from, cli.Cause(err))
		}
	case c.stdin == "-":
		return errors.New("cannot read both the source and its standard input from standard input")
	}
	return nil
}
