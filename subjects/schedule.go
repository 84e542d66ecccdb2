package subjects

import (
	"fmt"
	"strings"
)

// NoPool stands in a fire's subject for every pool: it can't be a pool's name.
const NoPool = "_all"

// PipelinesPool stands there for the engine that runs pipelines: no runner may be
// in it.
const PipelinesPool = "_pipelines"

// Pool says what is wrong with the name of a pool that a runner is to be in.
func Pool(name string) error {
	if name == NoPool || name == PipelinesPool {
		return fmt.Errorf("%s is reserved", name)
	}
	return Token(name)
}

// ScheduleStream is the stream of schedules and of what they have fired.
func (s Space) ScheduleStream() string { return s.upper() + "_SCHEDULE" }

// ScheduleBucket is the KV bucket of what each schedule has done last.
func (s Space) ScheduleBucket() string { return s.lower() + "_schedule" }

func (s Space) schedule(rest string) string { return s.prefix + "." + string(Schedule) + "." + rest }

// ScheduleDef is the subject of a schedule's definition.
func (s Space) ScheduleDef(name string) string { return s.schedule(tokenDef + "." + name) }

// ScheduleGap is the subject of the message that stands for the next tick which
// the wall clock skips.
func (s Space) ScheduleGap(name string) string { return s.schedule(tokenGap + "." + name) }

// Fired is where a schedule's fires go: to any runner of a pool, or to all of it.
func (s Space) Fired(all bool, pool, name string) string {
	scope := Any
	if all {
		scope = All
	}
	return s.schedule(tokenFired + "." + string(scope) + "." + pool + "." + name)
}

// ParseFired splits the subject of a fire.
func (s Space) ParseFired(subject string) (all bool, pool, name string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.schedule(tokenFired+"."))
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 || parts[0] != string(Any) && parts[0] != string(All) {
		return false, "", "", false
	}
	return parts[0] == string(All), parts[1], parts[2], true
}

// ParseScheduleDef is the name in the subject of a definition.
func (s Space) ParseScheduleDef(subject string) (name string, ok bool) {
	return strings.CutPrefix(subject, s.ScheduleDef(""))
}

// ScheduleSubjects are those of the stream: no wider, or it would take requests
// to the verb.
func (s Space) ScheduleSubjects() []string {
	return []string{s.ScheduleDef("*"), s.ScheduleGap("*"), s.Fired(false, "*", "*"), s.Fired(true, "*", "*")}
}

// ScheduleTell is where runners are told that there are schedules now.
func (s Space) ScheduleTell() string { return s.schedule(tokenTell) }

// FireConsumer is the durable consumer of what is fired for any runner of a pool.
func FireConsumer(pool string) string { return "fires-" + pool }

// FireConsumerAll is a runner's consumer of what is fired for all.
func FireConsumerAll(runner string) string { return "all-" + runner }
