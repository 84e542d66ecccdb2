// Package subjects spells and reads every subject, stream, bucket and header
// name of Runnel, and refuses tokens that would mean something else on NATS.
//
// A request goes to <prefix>.<verb>.<scope>, verb first so that a permission is
// one line (runner.glance.>). A run's output is on
// <prefix>.log.<runner>.<run>. Everything a fleet has on a NATS account is
// named after its prefix, so that two prefixes share nothing.
package subjects

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// DefaultPrefix is where a fleet lives unless told otherwise.
const DefaultPrefix = "runner"

// Headers of requests and of log messages.
const (
	// HeaderWhere narrows an all scope to the runners that match an expression.
	HeaderWhere = "Runner-Where"
	// HeaderAnswer with the value AnswerAlways asks runners that do not match to say so.
	HeaderAnswer = "Runner-Answer"
	AnswerAlways = "always"
	// HeaderGroup on a task request to one runner makes its run part of a
	// fan-out: the run is <group>-<runner>, as on an all scope.
	HeaderGroup = "Runner-Group"
	// HeaderDeadline on a request is when its caller stops waiting, by the NATS
	// server's clock (RFC 3339): a runner that reads it later does nothing.
	HeaderDeadline = "Runner-Deadline"
	// HeaderUser on a request is who asks, as he or the gateway that he asked claims.
	HeaderUser = "Runner-User"
	// HeaderSeq numbers the messages of one run's log: 1, 2, 3 …
	HeaderSeq = "Runner-Seq"
	// HeaderPos on a log message is the number of the line that it begins with.
	HeaderPos = "Runner-Pos"
	// HeaderBytes on a log message is how many bytes of each stream are stored
	// before it, such as "stdout=123 stderr=45".
	HeaderBytes = "Runner-Bytes"
	// HeaderContentType with the value Protobuf makes request and reply protobuf.
	HeaderContentType = "Content-Type"
	Protobuf          = "application/protobuf"
	JSON              = "application/json"
	// HeaderRunner and HeaderInstance of a reply: the runner that answers, and its
	// instance id.
	HeaderRunner   = "Runner-Name"
	HeaderInstance = "Runner-Instance"
	// HeaderTrace is a W3C trace context. It comes back with the reply.
	HeaderTrace = "traceparent"
	// HeaderTTL of a message, by the server (ADR-43).
	HeaderTTL = "Nats-TTL"
	// HeaderExpectedLastSubjectSeq makes a publish a compare-and-set (JetStream).
	HeaderExpectedLastSubjectSeq = "Nats-Expected-Last-Subject-Sequence"
)

// A Verb is what is asked of a runner.
type Verb string

// The verbs; log is not a request but where output goes.
const (
	Task     Verb = "task"
	Glance   Verb = "glance"
	Maint    Verb = "maint"
	Query    Verb = "query"
	Abort    Verb = "abort"
	Pipeline Verb = "pipeline"
	Schedule Verb = "schedule"
	logVerb  Verb = "log"
	queue    Verb = "queue"
)

// Verbs lists every verb that can be asked.
func Verbs() []Verb { return []Verb{Task, Glance, Maint, Query, Abort, Pipeline, Schedule} }

// Reserved says whether a token can't be in a prefix after its first one, nor
// name a further verb: it is a verb, or what else each prefix has.
func Reserved(token string) bool {
	v := Verb(token)
	return slices.Contains(Verbs(), v) || !v.Asked()
}

// Asked says whether a verb is a request's: log and queue have other subjects.
func (v Verb) Asked() bool { return v != logVerb && v != queue }

// Queue is the queue group of the any scopes.
const Queue = "runner"

// maxToken bounds names and ids.
const maxToken = 64

// Space is the part of an account that one fleet has: everything under one prefix.
type Space struct{ prefix string }

// New makes the space of a prefix: lower-case letters, digits and "-", in
// tokens separated by dots. Upper case and "_" are refused because the names
// of streams and buckets would meet those of another prefix, and a verb after
// the first token because its subjects would.
func New(prefix string) (Space, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	for i, token := range strings.Split(prefix, ".") {
		if token == "" || len(prefix) > maxToken || strings.ContainsFunc(token, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
		}) {
			return Space{}, fmt.Errorf("cannot use prefix %q: it must be lower-case letters, digits and \"-\", in tokens separated by dots, %d characters at most", prefix, maxToken)
		}
		if i > 0 && Reserved(token) {
			return Space{}, fmt.Errorf("cannot use prefix %q: %q is a verb of another prefix", prefix, token)
		}
	}
	return Space{prefix}, nil
}

// Prefix is the space's own name.
func (s Space) Prefix() string { return s.prefix }

// Service is the name of the micro service.
func (s Space) Service() string { return strings.ReplaceAll(s.prefix, ".", "_") }

// Request is the subject of a verb in a scope.
func (s Space) Request(v Verb, scope Scope) string {
	return s.prefix + "." + string(v) + "." + string(scope)
}

// Log is the subject of one run's output.
func (s Space) Log(runner, run string) string {
	return s.prefix + ".log." + runner + "." + run
}

// LogAny finds one run's output where the runner is not known.
func (s Space) LogAny(run string) string { return s.Log("*", run) }

// LogAll is every subject of the log stream.
func (s Space) LogAll() string { return s.prefix + ".log.>" }

// ParseLog splits a log subject in runner and run.
func (s Space) ParseLog(subject string) (runner, run string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix+".log.")
	if !ok {
		return "", "", false
	}
	runner, run, ok = strings.Cut(rest, ".")
	if !ok || Token(runner) != nil || RunID(run) != nil {
		return "", "", false
	}
	return runner, run, true
}

// LogStream is the stream that holds all output.
func (s Space) LogStream() string { return s.upper() + "_LOG" }

// RunsBucket is the KV bucket of runs.
func (s Space) RunsBucket() string { return s.lower() + "_runs" }

// FleetBucket is the KV bucket of cards.
func (s Space) FleetBucket() string { return s.lower() + "_fleet" }

// PipelinesBucket is the KV bucket of definitions, queues and inputs of
// pipelines, which only engines may read.
func (s Space) PipelinesBucket() string { return s.lower() + "_pipelines" }

// JobsBucket is the KV bucket of pipelines' jobs.
func (s Space) JobsBucket() string { return s.lower() + "_jobs" }

// GatewayBucket is the KV bucket of gateways: their cards, and one-time codes.
func (s Space) GatewayBucket() string { return s.lower() + "_gateway" }

// BucketStream is the stream that holds a bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// KeySubject is the subject of a bucket's key.
func KeySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// IndexBucket is the KV bucket of what makes lists of runs quick to find.
func (s Space) IndexBucket() string { return s.lower() + "_index" }

func (s Space) lower() string { return strings.ReplaceAll(s.prefix, ".", "_") }
func (s Space) upper() string { return strings.ToUpper(s.lower()) }

// A Scope says which runners a request reaches.
type Scope string

// Every runner, and one runner of the fleet.
const (
	All Scope = "all"
	Any Scope = "any"
)

// At reaches one runner.
func At(runner string) Scope { return Scope("at." + runner) }

// PoolAny reaches one runner of a pool.
func PoolAny(pool string) Scope { return Scope("pool." + pool + ".any") }

// PoolAll reaches every runner of a pool.
func PoolAll(pool string) Scope { return Scope("pool." + pool + ".all") }

// Many says whether a scope can reach more than one runner.
func (s Scope) Many() bool { return s == All || strings.HasSuffix(string(s), ".all") && s.isPool() }

// IsAny says whether a scope reaches one runner that NATS picks.
func (s Scope) IsAny() bool { return s == Any || strings.HasSuffix(string(s), ".any") && s.isPool() }

func (s Scope) isPool() bool { return strings.HasPrefix(string(s), "pool.") }

// Token refuses a name or id that is not 1 to 64 letters, digits, "-" and "_":
// anything else would be more than one token, or a wildcard, in a subject.
func Token(s string) error { return token(s, maxToken) }

// RunID refuses what can't be the id of a run: a token that may be as long as
// <group>-<runner> is.
func RunID(s string) error { return token(s, 2*maxToken+1) }

func token(s string, most int) error {
	if s == "" || len(s) > most {
		return fmt.Errorf("%q must be 1 to %d characters", s, most)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !tokenRune(r) }) {
		return fmt.Errorf("%q must be letters, digits, \"-\" and \"_\" only", s)
	}
	return nil
}

// Legalise makes a token of a host name: what may not be in one becomes "-".
func Legalise(name string) string {
	name = strings.Map(func(r rune) rune {
		if tokenRune(r) {
			return r
		}
		return '-'
	}, name)
	name = strings.Trim(name[:min(len(name), maxToken)], "-")
	if name == "" {
		return "runner"
	}
	return name
}

// maxTraceBytes bounds a trace context; version 00 of W3C's has 55.
const maxTraceBytes = 128

// Trace is the trace context in a header, "" where it is none.
func Trace(header string) string {
	if len(header) > maxTraceBytes || strings.Trim(header, "0123456789abcdef-") != "" {
		return ""
	}
	return header
}

// maxUserBytes bounds who asks.
const maxUserBytes = 256

// User is who asks by a header, in one line; "" if it says nothing that can be
// shown.
func User(header string) string {
	header = strings.TrimSpace(strings.ToValidUTF8(header, "\ufffd"))
	if len(header) > maxUserBytes || strings.ContainsFunc(header, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return header
}

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
