package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// CheckTask returns a *Refusal for a task that asks for an account, a level of
// isolation, a network or a language that it may not have. It takes the task as
// it was asked, before or after ApplyTaskDefaults.
func (p *Policy) CheckTask(t *pb.Task) error {
	if err := p.checkUser(t.GetUser()); err != nil {
		return err
	}
	level := t.GetIsolation()
	if level == "" {
		level = p.Isolation.of(t.GetLanguage() != nil)
	}
	if !p.Isolation.allows(level) {
		return &Refusal{Rule: "isolation.allowed", Reason: fmt.Sprintf("isolation %s; allowed: %s", level, strings.Join(p.Isolation.Allowed, ", "))}
	}
	if p.Isolation.ForbidNetwork && t.GetNetwork() {
		return &Refusal{Rule: "isolation.forbidNetwork", Reason: "a task may not have the host's network"}
	}
	if l := t.GetLanguage(); l != nil {
		return p.CheckLanguage(l.GetName())
	}
	return nil
}

// CheckLanguage returns a *Refusal for a language that is not allowed. A runner
// that knows aliases asks with the language's own name.
func (p *Policy) CheckLanguage(name string) error {
	allowed := func(a string) bool { return strings.EqualFold(a, name) }
	if len(p.Languages) == 0 || slices.ContainsFunc(p.Languages, allowed) {
		return nil
	}
	return &Refusal{Rule: "languages", Reason: fmt.Sprintf("language %q; allowed: %s", name, strings.Join(p.Languages, ", "))}
}

// graceMax is the longest grace that any run has.
func (p *Policy) graceMax() time.Duration {
	most := DefaultGraceMax
	if p.Grace.Max != nil {
		most = *p.Grace.Max
	}
	if p.Timeout.Max > 0 {
		most = min(most, p.Timeout.Max)
	}
	return most
}

func (p *Policy) checkUser(name string) error {
	if len(p.Users.Allowed) == 0 {
		return nil
	}
	if name == "" {
		name = p.Users.Default
	}
	if name == "" {
		name = ownAccount()
	}
	if sameAccountIn(name, p.Users.Allowed) {
		return nil
	}
	return &Refusal{Rule: "users.allowed", Reason: fmt.Sprintf("a task may not run as %q", name)}
}

// ApplyTaskDefaults fills in what the task leaves to the policy, and lowers
// what is above the policy's maximum; lowered tells what, in words. The error
// is about a limit that can't be read: a 400. Take the request's digest before:
// it is of what was asked.
//
// A limit that the host can't hold a run to (holds; nil: it can all) is not
// filled in: a task that asks for it is refused, and others run.
func (p *Policy) ApplyTaskDefaults(t *pb.Task, holds func(limit string) bool) (lowered []string, err error) {
	if t.GetUser() == "" {
		t.User = p.Users.Default
	}
	if t.GetIsolation() == "" {
		t.Isolation = p.Isolation.of(t.GetLanguage() != nil)
	}
	c := capper{}
	c.duration("timeout", &t.Timeout, p.Timeout.Default, p.Timeout.Max)
	c.grace(t, p.graceMax())
	if p.Log.DefaultMaxBytes != nil || p.Log.MaxBytes != nil {
		if t.Log == nil {
			t.Log = &pb.Log{}
		}
		c.integer("log.maxBytes", &t.Log.MaxBytes, bytesOf(p.Log.DefaultMaxBytes), bytesOf(p.Log.MaxBytes))
	}
	if c.err != nil || t.Limits == nil && p.Limits.IsZero() {
		return c.lowered, c.err
	}
	if t.Limits == nil {
		t.Limits = &pb.Limits{}
	}
	lowered, err = p.Limits.applyLimits(t.Limits, holds)
	return append(c.lowered, lowered...), err
}
