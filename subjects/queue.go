package subjects

import "strings"

// Priorities of work, the highest first.
var Priorities = [...]string{"high", "normal", "low"}

// Tokens after the verbs queue and schedule that are no scopes: work that waits,
// and a schedule's definition, its next gap, and what it has fired.
const (
	tokenWork  = "work"
	tokenDef   = "def"
	tokenGap   = "gap"
	tokenFired = "fired"
	tokenTell  = "tell"
)

// ReservedScope says whether a token that stands where a scope does means
// something else.
func ReservedScope(token string) bool {
	switch token {
	case tokenWork, tokenDef, tokenGap, tokenFired, tokenTell:
		return true
	}
	return false
}

// QueueStream is the stream of work that waits.
func (s Space) QueueStream() string { return s.upper() + "_QUEUE" }

// QueueBucket is the KV bucket of what the queue knows beside its work: paused
// pools, concurrency keys, refusals, and what has failed.
func (s Space) QueueBucket() string { return s.lower() + "_queue" }

// Work is the subject of one piece of work.
func (s Space) Work(pool, priority, id string) string {
	return s.prefix + "." + string(queue) + "." + tokenWork + "." + pool + "." + priority + "." + id
}

// WorkSubjects are those of the stream of work.
func (s Space) WorkSubjects() []string {
	var all []string
	for _, priority := range Priorities {
		all = append(all, s.Work("*", priority, "*"))
	}
	return all
}

// WorkAny finds work of an id in whatever pool.
func (s Space) WorkAny(id string) string { return s.Work("*", "*", id) }

// ParseWork splits the subject of work.
func (s Space) ParseWork(subject string) (pool, priority, id string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix+"."+string(queue)+"."+tokenWork+".")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// QueueTell is where a pool's runners are told that its queue has changed: it was
// made, paused or resumed. They answer.
func (s Space) QueueTell(pool string) string {
	return s.prefix + "." + string(queue) + "." + tokenTell + "." + pool
}

// WorkConsumer is the durable consumer of a pool's work of a priority.
func WorkConsumer(pool, priority string) string { return "work-" + pool + "-" + priority }
