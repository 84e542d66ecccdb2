package definition

import (
	"cmp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
)

// Variable is one that the templates and conditions of a pipeline name.
type Variable struct {
	Name string
	// Required: something uses it without a default.
	Required bool
	// Optional: a job may do without it. One that is neither this nor Required may
	// be empty, but must be there.
	Optional bool
	// Default is the first one in the templates, nil if there is none or if it is
	// not a constant.
	Default any
	// Tasks that use it, in the order in which they run, and the handler as on_error.
	Tasks []string
}

// VariablesUsed lists, by name, the variables that templates and conditions name.
func (p *Pipeline) VariablesUsed() []Variable {
	found := map[string]*Variable{}
	for _, name := range p.Order() {
		task := p.Tasks[name]
		u := uses{task: name, found: found, env: []map[string]Text{p.Env, task.Env}}
		u.script(task.Script)
		u.when(string(task.When))
	}
	if p.OnError != nil {
		u := uses{task: "on_error", found: found, env: []map[string]Text{p.Env, p.OnError.Env}}
		u.script(p.OnError.Script)
	}
	var all []Variable
	for _, v := range found {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// VariableNames lists the variables that templates and conditions name.
func (p *Pipeline) VariableNames() []string {
	var names []string
	for _, v := range p.VariablesUsed() {
		names = append(names, v.Name)
	}
	return names
}

// uses collects what one task names.
type uses struct {
	task  string
	found map[string]*Variable
	env   []map[string]Text
}

func (u *uses) script(s Script) {
	for _, item := range s {
		t, err := parseTemplate(item.Text)
		if err != nil {
			continue
		}
		for _, one := range t.Templates() {
			if one.Tree != nil && one.Root != nil {
				walk := templateWalk{uses: u}
				walk.list(one.Root, true)
			}
		}
	}
}

// when looks at what a condition takes from vars; what is missing there is nil.
func (u *uses) when(text string) {
	if tree, err := parser.Parse(text); err == nil && text != "" {
		ast.Walk(&tree.Node, u)
	}
}

// Visit is ast.Visitor.
func (u *uses) Visit(node *ast.Node) {
	member, ok := (*node).(*ast.MemberNode)
	if !ok {
		return
	}
	of, isName := member.Node.(*ast.IdentifierNode)
	name, isText := member.Property.(*ast.StringNode)
	if isName && isText && of.Value == "vars" {
		u.use(name.Value, &given{missing: true})
	}
}

// given is what a template uses where a variable is empty or, if it only looks
// it up, missing.
type given struct {
	value   any
	missing bool
}

// use notes that the task needs a variable, or has a default for it.
func (u *uses) use(name string, or *given) {
	set := func(env map[string]Text) bool { _, ok := env[name]; return ok }
	if slices.ContainsFunc(u.env, set) || strings.HasPrefix(name, "__") || strings.HasPrefix(name, "failedTask") {
		return
	}
	v := u.found[name]
	if v == nil {
		v = &Variable{Name: name, Optional: true}
		u.found[name] = v
	}
	switch {
	case or == nil:
		v.Required = true
	case v.Default == nil:
		v.Default = or.value
	}
	v.Optional = v.Optional && or != nil && or.missing
	if !slices.Contains(v.Tasks, u.task) {
		v.Tasks = append(v.Tasks, u.task)
	}
}
