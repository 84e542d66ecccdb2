package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Cause strips the operation and the path from an error that is reported with
// a path of its own.
func Cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// ExitOwn is the exit code of Runnel's own errors.
const ExitOwn = 125

// ExitAborted is the exit code of a run or a job that was aborted, and of a command
// that was interrupted.
const ExitAborted = 130

// ExitError ends the process with a code of its own: that of a run, say. With
// no message, everything has been said already.
type ExitError struct {
	Code    int
	Message string
	// Hurried ends the process even if nobody takes the message.
	Hurried bool
}

func (e *ExitError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Message
}

// reportPatience is how long a hurried end waits for the reader of its message.
const reportPatience = time.Second

// Report tells of the error and returns the code to exit with.
func Report(err error, w io.Writer) int {
	if err == nil {
		return 0
	}
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		switch {
		case exit.Message == "":
		case exit.Hurried:
			written := make(chan struct{})
			go func() {
				defer close(written)
				fmt.Fprintln(w, "runnel:", exit.Message)
			}()
			select {
			case <-written:
			case <-time.After(reportPatience):
			}
		default:
			fmt.Fprintln(w, "runnel:", exit.Message)
		}
		return exit.Code
	}
	if where := (*fs.PathError)(nil); errors.As(err, &where) && where.Op == "write" && where.Path == os.Stdout.Name() {
		err = fmt.Errorf("cannot print: %w", where.Err)
	}
	fmt.Fprintln(w, "runnel:", err)
	return ExitOwn
}
