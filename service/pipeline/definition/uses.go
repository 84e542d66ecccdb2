package definition

import "text/template/parse"

// templateWalk finds the variables that a template names. Inside range and with
// the dot is another one, so that a name behind it is none of the job's.
type templateWalk struct {
	uses *uses
	// looked has the names that the conditions around here have asked for.
	looked []string
}

func (w *templateWalk) list(l *parse.ListNode, dot bool) {
	if l == nil {
		return
	}
	for _, node := range l.Nodes {
		switch n := node.(type) {
		case *parse.ActionNode:
			w.pipe(n.Pipe, dot, nil)
		case *parse.TemplateNode:
			w.pipe(n.Pipe, dot, nil)
		case *parse.IfNode:
			w.branch(&n.BranchNode, dot, dot)
		case *parse.RangeNode:
			w.branch(&n.BranchNode, dot, false)
		case *parse.WithNode:
			w.branch(&n.BranchNode, dot, false)
		}
	}
}

// branch knows that what a condition has looked up may be missing elsewhere.
func (w *templateWalk) branch(b *parse.BranchNode, dot, inner bool) {
	w.pipe(b.Pipe, dot, nil)
	before := len(w.looked)
	w.looked = append(w.looked, lookedUp(b.Pipe, dot)...)
	w.list(b.List, inner)
	w.looked = w.looked[:before]
	w.list(b.ElseList, dot)
}

// pipe: of `x | lower | default "y"`, "y" is what is used where x is not there.
func (w *templateWalk) pipe(p *parse.PipeNode, dot bool, or *given) {
	if p == nil {
		return
	}
	for i, c := range p.Cmds {
		later := or
		for j := len(p.Cmds) - 1; j > i; j-- {
			if args := p.Cmds[j].Args; len(args) == 2 && isCall(args[0], "default") {
				later = &given{value: constant(args[1])}
			}
		}
		w.command(c, dot, later)
	}
}

func (w *templateWalk) command(c *parse.CommandNode, dot bool, or *given) {
	switch {
	case len(c.Args) == 1:
		w.value(c.Args[0], dot, or)
	case len(c.Args) == 3 && isCall(c.Args[0], "default"):
		w.value(c.Args[1], dot, nil)
		w.value(c.Args[2], dot, &given{value: constant(c.Args[1])})
	default:
		if name, ok := lookup(c, dot); ok {
			w.uses.use(name, or.orMissing())
			return
		}
		for _, arg := range c.Args {
			w.value(arg, dot, nil)
		}
	}
}

func (w *templateWalk) value(node parse.Node, dot bool, or *given) {
	name := ""
	switch n := node.(type) {
	case *parse.PipeNode:
		w.pipe(n, dot, or)
	case *parse.ChainNode:
		w.value(n.Node, dot, or)
	case *parse.FieldNode:
		if dot {
			name = n.Ident[0]
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			name = n.Ident[1]
		}
	}
	if name == "" {
		return
	}
	for _, looked := range w.looked {
		if looked == name {
			or = or.orMissing()
		}
	}
	w.uses.use(name, or)
}

// orMissing is for a use that works where the variable is missing.
func (g *given) orMissing() *given {
	if g == nil {
		return &given{missing: true}
	}
	return &given{value: g.value, missing: true}
}

// lookup reads `index . "name"`, which gives nothing where the name is missing.
func lookup(c *parse.CommandNode, dot bool) (name string, ok bool) {
	if len(c.Args) < 3 || !isCall(c.Args[0], "index") {
		return "", false
	}
	root := false
	switch n := c.Args[1].(type) {
	case *parse.DotNode:
		root = dot
	case *parse.VariableNode:
		root = len(n.Ident) == 1 && n.Ident[0] == "$"
	}
	text, isText := c.Args[2].(*parse.StringNode)
	if !root || !isText {
		return "", false
	}
	return text.Text, true
}

// lookedUp has the names that a condition looks up, whatever it does with them.
func lookedUp(p *parse.PipeNode, dot bool) (names []string) {
	if p == nil {
		return nil
	}
	for _, c := range p.Cmds {
		if name, ok := lookup(c, dot); ok {
			names = append(names, name)
		}
		for _, arg := range c.Args {
			if inner, ok := arg.(*parse.PipeNode); ok {
				names = append(names, lookedUp(inner, dot)...)
			}
		}
	}
	return names
}

func isCall(node parse.Node, name string) bool {
	n, ok := node.(*parse.IdentifierNode)
	return ok && n.Ident == name
}

// constant is the value of a text, a number or a boolean, else nil.
func constant(node parse.Node) any {
	switch n := node.(type) {
	case *parse.StringNode:
		return n.Text
	case *parse.BoolNode:
		return n.True
	case *parse.NumberNode:
		switch {
		case n.IsInt:
			return n.Int64
		case n.IsUint:
			return n.Uint64
		case n.IsFloat:
			return n.Float64
		}
	}
	return nil
}
