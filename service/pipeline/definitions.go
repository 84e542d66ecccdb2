package pipeline

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
)

// apply puts the pipelines of one source in: all of them or, after an error, none.
func (t *term) apply(a *pb.ApplyPipelines) (changed []string, err error) {
	pipelines, err := definition.Parse(a.GetSource(), []byte(a.GetText()))
	if err != nil {
		return nil, pb.Invalid("%s", err)
	}
	t.mu.Lock()
	have := maps.Clone(t.defs)
	t.mu.Unlock()
	var writes []*records.Definition
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		d := &records.Definition{Name: name, Source: a.GetSource(), Pipeline: pipelines[name], Env: a.GetEnv()}
		old := have[name]
		if old != nil && !old.Removed && old.Source != d.Source {
			return nil, conflict("pipeline %q is in %s as well as in %s: rename one, or remove the other (runnel pipeline rm)", name, old.Source, d.Source)
		}
		if old != nil {
			d.Rev = old.Rev
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
	timed := slices.ContainsFunc(writes, func(d *records.Definition) bool { return hasTimers(d) || hasTimers(have[d.Name]) })
	if slices.ContainsFunc(writes, hasTimers) {
		if err := t.timers.CheckServer(); err != nil { // before anything is stored
			return nil, pb.Invalid("cannot use schedule: %s", err)
		}
	}
	for _, d := range writes {
		if err := t.writeDefinition(d); err != nil {
			return changed, err
		}
		changed = append(changed, d.Name)
	}
	if timed || t.timers.Behind() { // perhaps by the same request, asked again
		err = t.timers.Sync(t.ctx)
	}
	return changed, err
}

// hasTimers says whether jobs of a definition are started by the clock.
func hasTimers(d *records.Definition) bool {
	return d != nil && !d.Removed && len(d.Pipeline.Schedule) > 0
}

func (t *term) writeDefinition(d *records.Definition) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if d.Rev, err = t.put(t.e.defs, kv.Write{Key: records.DefKey(d.Name), Body: body, Expect: d.Rev, Create: d.Rev == 0}); err != nil {
		return err
	}
	t.mu.Lock()
	t.defs[d.Name] = d
	t.mu.Unlock()
	t.tasks.Go(func() { t.retain(d.Name) }) // it may keep fewer now
	// Each definition has a head; and more jobs may run now.
	return t.queue(d.Name).change(func(h waitlist.Head) (waitlist.Head, error) { return h, nil })
}

// remove takes a definition out.
func (t *term) remove(name string) error {
	d := t.definition(name)
	if d == nil {
		return undefined(name)
	}
	gone := *d
	gone.Removed = true
	if err := t.writeDefinition(&gone); err != nil || !hasTimers(d) {
		return err
	}
	return t.timers.Sync(t.ctx)
}

// definition finds one that new jobs can be made of.
func (t *term) definition(name string) *records.Definition {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.defs[name]; d != nil && !d.Removed {
		return d
	}
	return nil
}

// pipelines lists the definitions by name.
func (t *term) pipelines(one string) []*pb.Pipeline {
	t.mu.Lock()
	defs, queues := maps.Clone(t.defs), maps.Clone(t.queues)
	t.mu.Unlock()
	return records.ListPipelines(defs, func(name string) (h waitlist.Head) {
		if q := queues[name]; q != nil {
			h = q.snapshot()
		}
		return h
	}, one)
}
