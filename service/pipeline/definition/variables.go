package definition

import (
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// VariableNames lists the variables that the templates of a pipeline name, as
// far as they can be seen without executing them.
func (p *Pipeline) VariableNames() []string {
	found, env := map[string]bool{}, map[string]bool{}
	scan := func(s Script) {
		for _, item := range s {
			if t, err := parseTemplate(item.Text); err == nil {
				fieldsOf(t, found)
			}
		}
	}
	for name := range p.Env {
		env[name] = true
	}
	for _, task := range p.Tasks {
		scan(task.Script)
		for name := range task.Env {
			env[name] = true
		}
	}
	if p.OnError != nil {
		scan(p.OnError.Script)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(name string) bool {
		return env[name] || strings.HasPrefix(name, "__") || strings.HasPrefix(name, "failedTask")
	})
}

// fieldsOf collects the fields of the dot outside of with and range, and of $.
func fieldsOf(t *template.Template, into map[string]bool) {
	if t.Tree == nil || t.Tree.Root == nil {
		return
	}
	var walk func(node parse.Node, dot bool)
	walkPipe := func(p *parse.PipeNode, dot bool) {
		if p == nil {
			return
		}
		for _, c := range p.Cmds {
			for _, arg := range c.Args {
				walk(arg, dot)
			}
		}
	}
	list := func(l *parse.ListNode, dot bool) {
		if l == nil {
			return
		}
		for _, n := range l.Nodes {
			walk(n, dot)
		}
	}
	branch := func(b *parse.BranchNode, dot, inner bool) {
		walkPipe(b.Pipe, dot)
		list(b.List, inner)
		list(b.ElseList, dot)
	}
	walk = func(node parse.Node, dot bool) {
		switch n := node.(type) {
		case *parse.ListNode:
			list(n, dot)
		case *parse.ActionNode:
			walkPipe(n.Pipe, dot)
		case *parse.PipeNode:
			walkPipe(n, dot)
		case *parse.IfNode:
			branch(&n.BranchNode, dot, dot)
		case *parse.RangeNode:
			branch(&n.BranchNode, dot, false)
		case *parse.WithNode:
			branch(&n.BranchNode, dot, false)
		case *parse.FieldNode:
			if dot {
				into[n.Ident[0]] = true
			}
		case *parse.VariableNode:
			if n.Ident[0] == "$" && len(n.Ident) > 1 {
				into[n.Ident[1]] = true
			}
		}
	}
	walk(t.Tree.Root, true)
}
