package presence

import (
	"cmp"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/sandbox"
)

// What this host can do takes processes to find out: a few milliseconds for the
// levels of isolation, seconds for the languages. Neither holds up the start:
// the first goes on beside it, the second after it, and a task that needs to
// know before waits for that alone.

// findAbilities begins to find out, unless that is left to the tasks.
func (p *Presence) findAbilities(runner *run.Runner) {
	if p.cfg.OnDemand {
		close(p.able)
		return
	}
	p.looks.Go(func() {
		facts := runner.Abilities()
		p.changeFacts(func(c *pb.Card) { abilitiesOf(facts, c) })
		close(p.able)
		languages := p.cfg.Languages(p.looking)
		if p.looking.Err() != nil {
			return
		}
		p.changeFacts(func(c *pb.Card) { c.Languages = languages })
		p.log.Info("languages found", "runner", p.cfg.Name, "languages", languages)
		p.Changed()
	})
}

// waitForAbilities waits for what the start is to tell.
func (p *Presence) waitForAbilities() {
	<-p.able
	p.mu.Lock()
	c := p.facts
	p.mu.Unlock()
	if missing := c.GetMissing(); len(missing) > 0 && !p.cfg.OnDemand {
		p.log.Info("this host can't do everything", "runner", p.cfg.Name, "missing", strings.Join(missing, "; "))
	}
}

func (p *Presence) changeFacts(change func(*pb.Card)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := proto.CloneOf(p.facts)
	change(next)
	p.facts = next
}

// abilitiesOf says in a card what the host can do and what it can't.
func abilitiesOf(facts sandbox.Facts, c *pb.Card) {
	c.Isolation, c.Missing = []string{sandbox.None.String()}, nil
	for _, level := range facts.Isolation {
		c.Isolation = append(c.Isolation, level.String())
	}
	if facts.NoCgroup != "" {
		c.Missing = append(c.Missing, "no cgroup: "+facts.NoCgroup)
	}
	if len(facts.NoLimits) > 0 {
		c.Missing = append(c.Missing, "no limits "+strings.Join(facts.NoLimits, ", ")+": "+cmp.Or(facts.NoControllers, facts.NoCgroup))
	}
	if len(facts.Metered) > 0 {
		c.Missing = append(c.Missing, "no "+strings.Join(facts.Metered, ", ")+" controller: that limit is held by sampling every 100 ms")
	}
	for _, level := range []sandbox.Isolation{sandbox.Standard, sandbox.Strict} {
		if why := facts.NoIsolation[level]; why != "" {
			c.Missing = append(c.Missing, fmt.Sprintf("no isolation %s: %s", level, why))
		}
	}
}
