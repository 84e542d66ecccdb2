package attempt

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// request is what a runner is asked. It is the same, byte by byte, whichever
// engine makes it: the run's id goes with the request's digest.
func (a *Attempt) request() (*pb.TaskRequest, error) {
	task := &pb.Task{
		Name: a.Task.GetName(), Tags: a.tags(), Dir: string(a.Def.Dir), Isolation: string(a.Def.Isolation),
		Grace: a.Def.GraceOr().String(),
	}
	if task.Dir == "" && a.Def.Language == nil { // a program has one in any case
		task.Dir = cmp.Or(a.job.Input.Dir, pb.OwnDir)
	}
	if a.Def.Timeout > 0 {
		task.Timeout = time.Duration(a.Def.Timeout).String()
	}
	var err error
	if task.Limits, err = definition.Limits(a.Def.Limits); err != nil {
		return nil, err
	}
	own := a.ownEnv()
	items, err := a.Def.Script.Render(definition.NewScope(a.job.ID, a.job.Variables, own))
	if err != nil {
		return nil, err
	}
	var prelude string
	task.Params, prelude = a.params(own)
	if lang := a.Def.Language; lang != nil {
		task.Language = &pb.Language{Name: string(lang.Name), Version: string(lang.Version)}
		task.File = &pb.File{Content: []byte(strings.Join(items, "\n"))}
	} else {
		task.File = &pb.File{Content: []byte(definition.ShellScriptAfter(prelude, items))}
	}
	req := &pb.TaskRequest{
		ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.TaskSpec{Task: task},
		Metadata: &pb.Metadata{Name: a.job.Pipeline + "/" + a.Task.GetName(), Id: a.id},
	}
	if size, most := proto.Size(req), a.fleet.MaxPayload-requestSpare; size > most {
		return nil, fmt.Errorf("the script with its environment has become %d bytes, a request takes %d at most: pass large values in a file that the task fetches", size, most)
	}
	return req, nil
}

// requestSpare is what a request has beside its body, such as headers.
const requestSpare = 4 << 10

func (a *Attempt) tags() map[string]string {
	return map[string]string{"pipeline": a.job.Pipeline, "job": a.job.ID, "task": a.Task.GetName()}
}

// ownEnv is the environment that the pipeline and the task name.
func (a *Attempt) ownEnv() map[string]string {
	env := map[string]string{}
	for _, level := range []map[string]definition.Text{a.job.Input.Definition.Env, a.Def.Env} {
		for name, value := range level {
			env[name] = string(value)
		}
	}
	return env
}

// The bounds within which variables are in the environment: beyond them a
// program could not be started at all.
const (
	maxEnvVariable  = 64 << 10
	maxEnvVariables = 512 << 10
)

var (
	variableName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	shellName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	reference    = regexp.MustCompile(`^\$[A-Za-z0-9_]+$`)
)

// params is the task's environment, lowest level first. A task request replaces
// a value that is wholly "$NAME"; a pipeline's values are literal, so those go
// into the script instead.
func (a *Attempt) params(own map[string]string) (params []*pb.Param, prelude string) {
	env := maps.Clone(a.job.Input.Env)
	if env == nil {
		env = map[string]string{}
	}
	for name, value := range variablesEnv(a.job.Variables) {
		env[name] = value
	}
	maps.Copy(env, own)
	env["TASK_NAME"], env["JOB_ID"] = a.Task.GetName(), a.job.ID
	var exports strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if reference.MatchString(value) && shellName.MatchString(name) {
			fmt.Fprintf(&exports, "export %s=%s\n", name, definition.ShellQuote(value))
			continue
		}
		params = append(params, &pb.Param{Name: name, Value: value})
	}
	return params, exports.String()
}

// variablesEnv is the job's variables as VAR_<name>; those that an environment
// can't hold are left out.
func variablesEnv(vars map[string]any) map[string]string {
	env, total := map[string]string{}, 0
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		var text string
		switch v := vars[name].(type) {
		case map[string]any, []any:
			text, _ = definition.ToJSON(v)
		default:
			text = definition.TextOf(v)
		}
		size := len(name) + len(text)
		if !variableName.MatchString(name) || strings.ContainsRune(text, 0) || len(text) > maxEnvVariable || total+size > maxEnvVariables {
			continue
		}
		total += size
		env["VAR_"+name] = text
	}
	return env
}
