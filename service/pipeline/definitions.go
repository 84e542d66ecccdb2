package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// definition is a pipeline as KV has it.
type definition struct {
	Name     string            `json:"name"`
	Source   string            `json:"source"`
	Pipeline *Pipeline         `json:"pipeline"`
	Env      map[string]string `json:"env,omitempty"`
	// Removed: no new job starts; those that are there go on.
	Removed bool `json:"removed,omitempty"`

	rev uint64
}

// The keys of the engines' bucket. A name may be any text, and a key may not.
func defKey(name string) string  { return "def." + digest(name) }
func headKey(name string) string { return "head." + digest(name) }
func inputKey(job string) string { return "input." + job }

func kindOfKey(key string) string {
	kind, _, _ := strings.Cut(key, ".")
	return kind
}

func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func readDefinition(e kv.Entry) (*definition, error) {
	d := &definition{rev: e.Rev}
	if err := json.Unmarshal(e.Body, d); err != nil {
		return nil, fmt.Errorf("cannot read a definition: %w", err)
	}
	return d, nil
}

// apply puts the pipelines of one source in: all of them or, after an error, none.
func (t *term) apply(a *pb.ApplyPipelines) (changed []string, err error) {
	pipelines, err := Parse(a.GetSource(), []byte(a.GetText()))
	if err != nil {
		return nil, pb.Invalid("%s", err)
	}
	t.mu.Lock()
	have := maps.Clone(t.defs)
	t.mu.Unlock()
	var writes []*definition
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		d := &definition{Name: name, Source: a.GetSource(), Pipeline: pipelines[name], Env: a.GetEnv()}
		old := have[name]
		if old != nil && !old.Removed && old.Source != d.Source {
			return nil, conflict("pipeline %q is in %s as well as in %s: rename one, or remove the other (runnel pipeline rm)", name, old.Source, d.Source)
		}
		if old != nil {
			d.rev = old.rev
		}
		if old == nil || old.Removed || old.Source != d.Source || !old.Pipeline.Same(d.Pipeline) || !maps.Equal(old.Env, d.Env) {
			writes = append(writes, d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if old := have[name]; a.GetPrune() && old.Source == a.GetSource() && !old.Removed && pipelines[name] == nil {
			gone := *old
			gone.Removed = true
			writes = append(writes, &gone)
		}
	}
	for _, d := range writes {
		if err := t.writeDefinition(d); err != nil {
			return changed, err
		}
		changed = append(changed, d.Name)
	}
	return changed, nil
}

func (t *term) writeDefinition(d *definition) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if d.rev, err = t.put(t.e.defs, kv.Write{Key: defKey(d.Name), Body: body, Expect: d.rev, Create: d.rev == 0}); err != nil {
		return err
	}
	t.mu.Lock()
	t.defs[d.Name] = d
	t.mu.Unlock()
	t.tasks.Go(func() { t.retain(d.Name) }) // it may keep fewer now
	// Each definition has a head; and more jobs may run now.
	return t.queue(d.Name).change(func(h Head) (Head, error) { return h, nil })
}

// remove takes a definition out.
func (t *term) remove(name string) error {
	d := t.definition(name)
	if d == nil {
		return undefined(name)
	}
	gone := *d
	gone.Removed = true
	return t.writeDefinition(&gone)
}

// definition finds one that new jobs can be made of.
func (t *term) definition(name string) *definition {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.defs[name]; d != nil && !d.Removed {
		return d
	}
	return nil
}

// pipelines lists the definitions by name; those that were removed are listed
// for as long as they have jobs.
func (t *term) pipelines(one string) []*pb.Pipeline {
	t.mu.Lock()
	defs, queues := maps.Clone(t.defs), maps.Clone(t.queues)
	t.mu.Unlock()
	var all []*pb.Pipeline
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		d := defs[name]
		var h Head
		if q := queues[name]; q != nil {
			h = q.snapshot()
		}
		if one != "" && name != one || d.Removed && h.Empty() {
			continue
		}
		p := &pb.Pipeline{
			Name: name, Source: d.Source, Removed: d.Removed,
			Schedulable: !d.Removed && h.Schedulable(d.Pipeline, now()), Running: len(h.Running) > 0,
			RunningJobs: int64(len(h.Running)), WaitingJobs: int64(len(h.Waiting)),
		}
		if one != "" {
			body, _ := json.Marshal(d.shown())
			p.Definition, p.Variables = string(body), d.Pipeline.VariableNames()
		}
		all = append(all, p)
	}
	return all
}

// shown is the pipeline as people may see it: of env files the names alone.
func (d *definition) shown() *Pipeline {
	p := *d.Pipeline
	p.Env = map[string]Text{}
	for name := range d.Env {
		p.Env[name] = "***"
	}
	maps.Copy(p.Env, d.Pipeline.Env)
	return &p
}

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
