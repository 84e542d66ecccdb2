package definition

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/runnel-io/runnel/service/store"
)

// When is a compiled condition of a task.
type When struct{ program *vm.Program }

// Outcome is what a condition can know of another task.
type Outcome struct {
	Status   string `expr:"status"`
	ExitCode int    `expr:"exitCode"`
}

// CompileWhen reads a condition such as
//
//	vars.deploy == true && tasks.test.exitCode == 0
//
// in the language of expr-lang. It must give true or false.
func CompileWhen(text string) (*When, error) {
	program, err := store.CompileBounded("when", text, whenEnv(nil, nil))
	if err != nil {
		return nil, err
	}
	return &When{program}, nil
}

// Holds says whether the condition is true of a job's variables and tasks.
func (w *When) Holds(variables map[string]any, tasks map[string]Outcome) (bool, error) {
	out, err := expr.Run(w.program, whenEnv(variables, tasks))
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		return false, fmt.Errorf("cannot apply when: %s", reason)
	}
	holds, isBool := out.(bool)
	if !isBool {
		return false, errors.New("cannot apply when: it gives neither true nor false")
	}
	return holds, nil
}

func whenEnv(variables map[string]any, tasks map[string]Outcome) map[string]any {
	return map[string]any{"vars": variables, "tasks": tasks}
}
