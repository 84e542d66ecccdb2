// Package policy says whether this runner may do what is asked.
//
// A Policy is what the operator of a host has written down: which verbs are
// served, which accounts and languages and levels of isolation a task may ask
// for, how much it may use, and what of the file system may be looked at. Its
// zero value is the policy of a runner without a configuration: everything is
// allowed but looking at secrets.
//
// There are two kinds of answers. A yes-or-no question, such as an account or a path,
// is answered with a *Refusal that names the rule by its key in the configuration; on
// the wire that is a 403. An amount, such as memory or a timeout, is lowered to the
// policy's maximum, and the caller is told what was lowered.
//
// Package files decides about paths: FileRules are its configuration.
package policy

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/subjects"
)

// Levels of isolation.
const (
	IsolationNone     = "none"
	IsolationStandard = "standard"
	IsolationStrict   = "strict"
)

// Policy is the part "policy" of a runner's configuration. The zero value is
// the default. Call Validate after decoding.
type Policy struct {
	// Verbs that are served. Empty: all.
	Verbs []string `yaml:"verbs,omitempty"`
	// Files says what glance may look at.
	Files FileRules `yaml:"files,omitempty"`
	// HideCommandLines leaves the command lines out of lists of processes, and
	// makes /proc/*/cmdline unreadable.
	HideCommandLines bool `yaml:"hideCommandLines,omitempty"`
	// Users says which accounts tasks may run as.
	Users UserRules `yaml:"users,omitempty"`
	// Isolation says how tasks may be kept apart.
	Isolation IsolationRules `yaml:"isolation,omitempty"`
	// Languages that a task may be written in, by name. Empty: all that the
	// host has.
	Languages []string `yaml:"languages,omitempty"`
	// Limits of a run.
	Limits LimitRules `yaml:"limits,omitempty"`
	// Timeout of a run.
	Timeout TimeoutRules `yaml:"timeout,omitempty"`
	// Grace of a run that is ended gently.
	Grace GraceRules `yaml:"grace,omitempty"`
	// Log says how much output of a run is stored.
	Log LogRules `yaml:"log,omitempty"`
	// Clock says whether maint may set this host's clock.
	Clock ClockRules `yaml:"clock,omitempty"`
}

// FileRules of glance.
type FileRules struct {
	// Roots that dir and file may look under, absolute. Empty: everywhere, but a
	// runner that is root's shows no homes (/home, /root, /Users).
	Roots []string `yaml:"roots,omitempty"`
	// Deny is what they may not look at beside what never may be (see package files):
	// an absolute path denies everything below it too; "*" stands for part of
	// one name ("/home/*/.aws"); a pattern without a slash is the last name
	// anywhere ("*.kdbx").
	Deny []string `yaml:"deny,omitempty"`
}

// UserRules of tasks.
type UserRules struct {
	// Default is the account of tasks that name none. Empty: the runner's own.
	Default string `yaml:"default,omitempty"`
	// Allowed accounts, by name or number. Empty: all.
	Allowed []string `yaml:"allowed,omitempty"`
}

// IsolationRules of tasks.
type IsolationRules struct {
	// Default of tasks that ask for none. Empty: "none".
	Default string `yaml:"default,omitempty"`
	// LanguageDefault of tasks with a language. Empty: "strict".
	LanguageDefault string `yaml:"languageDefault,omitempty"`
	// Allowed levels. Empty: all.
	Allowed []string `yaml:"allowed,omitempty"`
	// ForbidNetwork refuses strict tasks that ask for the host's network.
	ForbidNetwork bool `yaml:"forbidNetwork,omitempty"`
}

// TimeoutRules of runs.
type TimeoutRules struct {
	// Default of tasks that name none. 0: none.
	Default time.Duration `yaml:"default,omitempty"`
	// Max is the longest timeout, also of tasks that name none. 0: no limit.
	Max time.Duration `yaml:"max,omitempty"`
}

// GraceRules of runs.
type GraceRules struct {
	// Max is the longest time between SIGTERM and SIGKILL; Timeout.Max caps it,
	// too. Unset: DefaultGraceMax. 0: there is no grace.
	Max *time.Duration `yaml:"max,omitempty"`
}

// DefaultGraceMax is the longest grace where the policy names none.
const DefaultGraceMax = time.Minute

// LogRules of runs.
type LogRules struct {
	// DefaultMaxBytes of text stored for a task that names nothing. Unset: 1 GiB.
	DefaultMaxBytes *Size `yaml:"defaultMaxBytes,omitempty"`
	// MaxBytes of text stored for any task. Unset: no limit.
	MaxBytes *Size `yaml:"maxBytes,omitempty"`
}

// ClockRules of maint.
type ClockRules struct {
	// ForbidSet refuses to set the clock; comparing it is always allowed.
	ForbidSet bool `yaml:"forbidSet,omitempty"`
	// MaxStep is the largest step. 0: maint's own default.
	MaxStep time.Duration `yaml:"maxStep,omitempty"`
}

// Refusal is the answer to what the policy doesn't allow: a 403. Files refuses
// with the same.
type Refusal = files.Refusal

// Validate says what is wrong with the configuration, by key.
func (p *Policy) Validate() error {
	for _, v := range p.Verbs {
		if verbs := subjects.Verbs(); !slices.Contains(verbs, subjects.Verb(v)) {
			return fmt.Errorf("policy.verbs: no verb %q, there are %s", v, strings.ReplaceAll(strings.Trim(fmt.Sprint(verbs), "[]"), " ", ", "))
		}
	}
	for _, root := range p.Files.Roots {
		if !filepath.IsAbs(root) {
			return fmt.Errorf("policy.files.roots: %q is not an absolute path", root)
		}
	}
	for _, d := range p.Files.Deny {
		if err := files.CheckPattern(d); err != nil {
			return fmt.Errorf("policy.files.deny: %w", err)
		}
	}
	if err := p.Isolation.validate(); err != nil {
		return err
	}
	if u := p.Users; u.Default != "" && len(u.Allowed) > 0 && !sameAccountIn(u.Default, u.Allowed) {
		return fmt.Errorf("policy.users.default: %q is not one of users.allowed", u.Default)
	}
	if p.Timeout.Default < 0 || p.Timeout.Max < 0 || p.Clock.MaxStep < 0 || p.graceMax() < 0 {
		return fmt.Errorf("policy: timeout.default, timeout.max, grace.max and clock.maxStep must not be negative")
	}
	return nil
}

func (r *IsolationRules) validate() error {
	levels := []string{IsolationNone, IsolationStandard, IsolationStrict}
	for _, l := range r.Allowed {
		if !slices.Contains(levels, l) {
			return fmt.Errorf("policy.isolation.allowed: no level %q, there are %s", l, strings.Join(levels, ", "))
		}
	}
	if d := r.of(false); !slices.Contains(levels, d) || !r.allows(d) {
		return fmt.Errorf("policy.isolation.default: %q is not one of isolation.allowed", d)
	}
	// The default of languages may be one that is not allowed: then code needs
	// to name its level.
	if d := r.of(true); !slices.Contains(levels, d) {
		return fmt.Errorf("policy.isolation.languageDefault: no level %q, there are %s", d, strings.Join(levels, ", "))
	}
	return nil
}

// of gives the level of a task that names none.
func (r *IsolationRules) of(isCode bool) string {
	switch {
	case isCode && r.LanguageDefault != "":
		return r.LanguageDefault
	case isCode:
		return IsolationStrict
	case r.Default != "":
		return r.Default
	}
	return IsolationNone
}

func (r *IsolationRules) allows(level string) bool {
	return len(r.Allowed) == 0 || slices.Contains(r.Allowed, level)
}

// CheckVerb returns a *Refusal for a verb that isn't served.
func (p *Policy) CheckVerb(verb string) error {
	if len(p.Verbs) == 0 || slices.Contains(p.Verbs, verb) {
		return nil
	}
	return &Refusal{Rule: "verbs", Reason: fmt.Sprintf("this runner does not serve %s", verb)}
}

// CheckClockSet returns a *Refusal where the clock must not be set.
func (p *Policy) CheckClockSet() error {
	if p.Clock.ForbidSet {
		return &Refusal{Rule: "clock.forbidSet", Reason: "this runner does not set its host's clock"}
	}
	return nil
}

// sameAccountIn compares by spelling and then by number, so that "0" and "root"
// are one account whichever of them is allowed.
func sameAccountIn(name string, allowed []string) bool {
	if slices.Contains(allowed, name) {
		return true
	}
	uid, ok := uidOf(name)
	return ok && slices.ContainsFunc(allowed, func(a string) bool {
		other, ok := uidOf(a)
		return ok && other == uid
	})
}

func uidOf(name string) (string, bool) {
	if u, err := user.Lookup(name); err == nil {
		return u.Uid, true
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return strconv.FormatUint(n, 10), true
	}
	return "", false
}

// ownAccount is the account that the runner has itself, by number.
func ownAccount() string { return strconv.Itoa(os.Geteuid()) }
