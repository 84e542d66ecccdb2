// Package roles lists what each kind of NATS user needs to be permitted, subject
// by subject: enough for every use of Runnel that the role is for, and nothing
// more.
//
// The lists are made from package subjects, so they never differ from what is
// spoken. No role but Admin may create, change, purge or delete a stream, write
// another's log, or read another's replies: every user has an inbox prefix of its
// own, which the connection must be told (nats.CustomInboxPrefix, --inbox-prefix).
//
// NATS decides by subjects alone. So it can't tell whose run an abort names, nor
// whose output or record is read: who may run tasks may see all runs of the
// fleet. Put those who must not see each other into accounts of their own, or
// give them another prefix.
package roles

import (
	"errors"
	"fmt"
	"slices"

	"github.com/runnel-io/runnel/subjects"
)

// Role is a kind of user.
type Role string

// The roles.
const (
	// Runner is the process of one host: `runnel serve`.
	Runner Role = "runner"
	// Operator asks every runner for everything.
	Operator Role = "operator"
	// Task runs tasks in named pools, follows and aborts them.
	Task Role = "task"
	// Viewer looks at hosts, lists runs and reads logs.
	Viewer Role = "viewer"
	// Engine is a Runner that also runs pipelines: `runnel serve --engine`.
	Engine Role = "engine"
	// Gateway is a process of `runnel gateway`: it asks for everybody who has a token.
	// It removes neither records nor runners' cards; that takes an Admin. Of work that
	// waits it writes the record that it was removed.
	Gateway Role = "gateway"
	// Scheduler puts work into the queue of any pool, pauses it and removes work, and
	// has the schedules: these and nothing else.
	Scheduler Role = "scheduler"
	// Admin makes streams and buckets, and removes runs and runners.
	Admin Role = "admin"
)

// All roles, the least mighty first.
func All() []Role { return []Role{Viewer, Task, Scheduler, Operator, Runner, Engine, Gateway, Admin} }

// User is whom the list is for.
type User struct {
	// Name is the user's, and a token: it is the end of the inbox prefix, too. A
	// runner's user is called as the runner is.
	Name string
	Role Role
	// Pools that a runner is in, or that a task user may use. Default: "default".
	Pools []string
}

// A Line is one subject and the reason for it.
type Line struct {
	Subject string
	// Queue: a subscription in this queue group only.
	Queue string
	Why   string
}

// List is what a user may do.
type List struct {
	Publish, Subscribe []Line
	// Replies: may publish on the reply subject of a message that it was sent.
	Replies bool
	// Inbox is the prefix of its replies.
	Inbox string
}

// InboxPrefix of a user.
func InboxPrefix(user string) string { return "_INBOX_" + user }

// For lists what a user may do in a space.
func For(space subjects.Space, u User) (*List, error) {
	if err := subjects.Token(u.Name); err != nil {
		return nil, fmt.Errorf("cannot use the user's name: %w", err)
	}
	u.Pools = slices.Clone(u.Pools)
	if len(u.Pools) == 0 {
		u.Pools = []string{"default"}
	}
	for _, pool := range u.Pools {
		if err := subjects.Token(pool); err != nil {
			return nil, fmt.Errorf("cannot use pool: %w", err)
		}
	}
	l := &list{space: space, user: u}
	l.Inbox = InboxPrefix(u.Name)
	l.hear(l.Inbox+".>", "replies to its own requests")
	switch u.Role {
	case Viewer:
		l.viewer()
	case Task:
		l.task()
	case Scheduler:
		l.scheduler()
	case Operator:
		l.viewer()
		l.operator()
		l.useQueue()
	case Runner:
		l.runner()
	case Engine:
		l.runner()
		l.engine()
	case Gateway:
		l.operator()
		l.gateway()
	case Admin:
		l.admin()
	default:
		return nil, fmt.Errorf("unknown role %q: %w", u.Role, errRoles)
	}
	return &l.List, nil
}

var errRoles = errors.New("the roles are viewer, task, scheduler, operator, runner, engine, gateway and admin")

// list is a List while it is made.
type list struct {
	List
	space subjects.Space
	user  User
}

func (l *list) ask(subject, why string) {
	l.Publish = append(l.Publish, Line{Subject: subject, Why: why})
}
func (l *list) hear(subject, why string) {
	l.Subscribe = append(l.Subscribe, Line{Subject: subject, Why: why})
}

func (l *list) request(v subjects.Verb, scope subjects.Scope, why string) {
	l.ask(l.space.Request(v, scope), why)
}

// everywhere is every scope of a verb.
const everywhere subjects.Scope = ">"

// viewer looks at hosts, at records and at logs.
func (l *list) viewer() {
	l.request(subjects.Glance, everywhere, "look at any host")
	l.request(subjects.Query, subjects.Any, "find runs and wait for them")
	for _, verb := range srvVerbs {
		l.ask("$SRV."+verb+"."+l.space.Service(), "discover runners")
	}
	l.readRecords()
	l.readCards()
	l.readLogs()
	l.readQueue()
	l.readSchedules()
	l.listen()
}

// operator is what there is beyond looking.
func (l *list) operator() {
	l.request(subjects.Task, everywhere, "run tasks anywhere")
	l.request(subjects.Abort, everywhere, "end runs")
	l.request(subjects.Maint, everywhere, "compare and set clocks")
	l.request(subjects.Schedule, subjects.Any, "have a runner change schedules")
	l.useSchedules()
	l.request(subjects.Pipeline, subjects.Any, "start, list and cancel pipelines' jobs")
	l.hear(subjects.KeySubject(l.space.JobsBucket(), "*"), "see that a job has changed")
}

func (l *list) task() {
	for _, pool := range l.user.Pools {
		l.request(subjects.Task, subjects.PoolAny(pool), "run a task on one runner of the pool")
		l.request(subjects.Task, subjects.PoolAll(pool), "run a task on every runner of the pool")
		l.putWork(pool)
	}
	l.request(subjects.Query, subjects.Any, "find runs and wait for them")
	l.request(subjects.Abort, subjects.Any, "end runs")
	l.readRecords()
	l.readCards()
	l.readLogs()
	l.readQueue()
	l.listen()
}

// srvVerbs are those of NATS's service discovery (ADR-32).
var srvVerbs = []string{"PING", "INFO", "STATS"}

const api = "$JS.API."

// read is what reading a stream by consumers takes. Deleting one is not among it:
// who may delete consumers may delete those of others. They end by themselves,
// some seconds after their reader.
func (l *list) read(stream, what string) {
	l.ask(api+"CONSUMER.CREATE."+stream+".>", "read "+what)
	l.ask(api+"CONSUMER.MSG.NEXT."+stream+".*", "read "+what)
}

func (l *list) readRecords() {
	bucket := l.space.RunsBucket()
	stream := subjects.BucketStream(bucket)
	l.ask(api+"STREAM.INFO."+stream, "find the records")
	l.read(stream, "records")
	l.ask(api+"DIRECT.GET."+stream+"."+subjects.KeySubject(bucket, "*"), "read one record")
}

func (l *list) readCards() {
	stream := subjects.BucketStream(l.space.FleetBucket())
	l.ask(api+"STREAM.INFO."+stream, "find the cards")
	l.read(stream, "cards")
}

func (l *list) readLogs() {
	l.read(l.space.LogStream(), "logs")
	l.ask(api+"STREAM.MSG.GET."+l.space.LogStream(), "read the end of a log")
}

// listen is for the clients: they see what is written as it is.
func (l *list) listen() {
	l.hear(subjects.KeySubject(l.space.FleetBucket(), ">"), "watch the cards")
	l.hear(l.space.LogAll(), "read logs as they are written")
}

// runner answers requests and writes its own log, its card, and records.
func (l *list) runner() {
	name := l.user.Name
	l.Replies = true
	for _, verb := range subjects.Verbs() {
		l.hear(l.space.Request(verb, subjects.At(name)), "requests to this runner")
		l.hear(l.space.Request(verb, subjects.All), "requests to every runner")
		l.hearAny(verb, subjects.Any)
		for _, pool := range l.user.Pools {
			l.hear(l.space.Request(verb, subjects.PoolAll(pool)), "requests to every runner of the pool")
			l.hearAny(verb, subjects.PoolAny(pool))
		}
	}
	for _, verb := range srvVerbs {
		l.hear("$SRV."+verb, "service discovery")
		l.hear("$SRV."+verb+"."+l.space.Service(), "service discovery")
		l.hear("$SRV."+verb+"."+l.space.Service()+".*", "service discovery")
	}
	l.request(subjects.Glance, subjects.At(name), "find out whether it answers itself")
	l.request(subjects.Abort, "at.*", "hand an abort on to the run's runner")
	l.ask(l.space.Log(name, "*"), "write its own logs")
	l.ask(subjects.KeySubject(l.space.RunsBucket(), "*"), "write records")
	l.ask(subjects.KeySubject(l.space.FleetBucket(), name), "write its card")
	l.ask(api+"STREAM.INFO."+l.space.LogStream(), "find the logs")
	l.ask(api+"STREAM.MSG.GET."+l.space.LogStream(), "see what of a log is stored")
	l.readRecords()
	l.readCards()
	l.ask(api+"DIRECT.GET."+subjects.BucketStream(l.space.RunsBucket()), "read many records at once")
	runs, cards := subjects.BucketStream(l.space.RunsBucket()), subjects.BucketStream(l.space.FleetBucket())
	l.ask(api+"STREAM.MSG.GET."+runs, "read from the leader what was just written")
	l.ask(api+"STREAM.MSG.GET."+cards, "read from the leader what was just written")
	l.ask("$JS.FC."+runs+".>", "flow control while it waits for a run")
	l.ask(api+"CONSUMER.DELETE."+runs+".*", "end such a wait")
	l.keepIndex()
	l.pullWork()
	l.handleFires()
}

// handleFires is what schedules take of a runner: what is fired for its own pools,
// which it puts into the queue, and for all. It keeps the messages of gaps, and
// does what the verb asks, by which it could have any pool run a task: leave these
// lines out for a runner that must not, and others do it.
func (l *list) handleFires() {
	stream, bucket := l.space.ScheduleStream(), l.space.ScheduleBucket()
	last := subjects.BucketStream(bucket)
	l.hear(l.space.ScheduleTell(), "hear that there are schedules")
	l.readSchedules()
	for _, pool := range l.user.Pools {
		consumer := stream + "." + subjects.FireConsumer(pool)
		l.ask(api+"CONSUMER.INFO."+consumer, "find what schedules fire for the pool")
		l.ask(api+"CONSUMER.CREATE."+consumer+".>", "share it with the pool's other runners")
		l.ask(api+"CONSUMER.MSG.NEXT."+consumer, "read what schedules fire for the pool")
		l.ask("$JS.ACK."+consumer+".>", "say that a fire is handled")
	}
	all := stream + "." + subjects.FireConsumerAll(l.user.Name)
	l.ask(api+"CONSUMER.CREATE."+all, "read what schedules fire for all")
	l.ask(api+"CONSUMER.MSG.NEXT."+all, "read what schedules fire for all")
	l.ask(api+"CONSUMER.DELETE."+all, "read it anew")
	l.ask(l.space.Work("*", "normal", "*"), "queue what schedules fire, and what one is asked to run now")
	l.ask(l.space.ScheduleGap("*"), "keep the tick that the wall clock skips")
	l.ask(l.space.ScheduleDef("*"), "do what the verb asks: add, change and pause")
	l.ask(l.space.Fired(true, "*", "*"), "do what the verb asks: run a schedule for all now")
	l.ask(l.space.ScheduleTell(), "tell the others that there are schedules")
	l.ask(api+"STREAM.INFO."+last, "find what schedules have done last")
	l.ask(api+"STREAM.MSG.GET."+last, "read what a schedule has done last")
	l.ask(subjects.KeySubject(bucket, ">"), "write what a schedule has done last")
	l.request(subjects.Abort, subjects.Any, "end the run that a schedule's next one replaces")
}

// pullWork is what the queue takes of a runner: the work of its own pools.
func (l *list) pullWork() {
	stream, bucket := l.space.QueueStream(), l.space.QueueBucket()
	notes := subjects.BucketStream(bucket)
	l.ask(api+"STREAM.INFO."+stream, "find the queue")
	l.ask(api+"STREAM.MSG.GET."+stream, "see whether a run waits in the queue")
	l.ask(api+"STREAM.MSG.DELETE."+stream, "remove work that an abort names")
	for _, pool := range l.user.Pools {
		l.hear(l.space.QueueTell(pool), "hear that the pool's queue has changed")
		for _, priority := range subjects.Priorities {
			consumer := stream + "." + subjects.WorkConsumer(pool, priority)
			l.ask(api+"CONSUMER.INFO."+consumer, "find the pool's work")
			l.ask(api+"CONSUMER.CREATE."+consumer+".>", "share the pool's work with its other runners")
			l.ask(api+"CONSUMER.MSG.NEXT."+consumer, "take work of the pool")
			l.ask("$JS.ACK."+consumer+".>", "say that work is done")
		}
	}
	l.ask(api+"STREAM.INFO."+notes, "find what the queue knows beside its work")
	l.ask(api+"DIRECT.GET."+notes+"."+subjects.KeySubject(bucket, ">"), "read pauses, keys and refusals")
	l.ask(api+"STREAM.MSG.GET."+notes, "read from the leader what was just written")
	l.ask(subjects.KeySubject(bucket, ">"), "write who holds a key, and refusals")
}

// keepIndex is the index that any runner reads and keeps.
func (l *list) keepIndex() {
	bucket := l.space.IndexBucket()
	stream := subjects.BucketStream(bucket)
	l.ask(api+"STREAM.INFO."+stream, "find the index of records")
	l.ask(api+"DIRECT.GET."+stream, "read the index")
	l.ask(api+"DIRECT.GET."+stream+"."+subjects.KeySubject(bucket, "*"), "read the index")
	l.ask(api+"STREAM.MSG.GET."+stream, "read the index")
	l.ask(subjects.KeySubject(bucket, "*"), "write the index")
}

// engine keeps pipelines and jobs, and has the tasks run.
func (l *list) engine() {
	l.request(subjects.Task, everywhere, "run the tasks of jobs")
	l.request(subjects.Abort, everywhere, "end the tasks of jobs")
	l.readLogs()
	for _, bucket := range []string{l.space.PipelinesBucket(), l.space.JobsBucket()} {
		stream := subjects.BucketStream(bucket)
		l.ask(api+"STREAM.INFO."+stream, "find pipelines and jobs")
		l.read(stream, "pipelines and jobs")
		l.ask(api+"DIRECT.GET."+stream+"."+subjects.KeySubject(bucket, ">"), "read a pipeline or a job")
		l.ask(api+"DIRECT.GET."+stream, "read many at once")
		l.ask(api+"STREAM.MSG.GET."+stream, "read from the leader what was just written")
		l.ask(subjects.KeySubject(bucket, ">"), "write pipelines, jobs and the lease")
		l.ask("$JS.FC."+stream+".>", "flow control while it watches")
		l.ask(api+"CONSUMER.DELETE."+stream+".*", "end a watch")
	}
	l.ask(l.space.ScheduleDef("*"), "keep the schedules of pipelines")
	l.ask(l.space.ScheduleTell(), "tell that there are schedules")
	consumer := l.space.ScheduleStream() + "." + subjects.FireConsumer(subjects.PipelinesPool)
	l.ask(api+"CONSUMER.INFO."+consumer, "find what pipelines' schedules fire")
	l.ask(api+"CONSUMER.CREATE."+consumer+".>", "share it with the other engines")
	l.ask(api+"CONSUMER.MSG.NEXT."+consumer, "read what pipelines' schedules fire")
	l.ask("$JS.ACK."+consumer+".>", "say that a fire is handled")
}

// gateway follows what an operator asks for: records, cards and jobs as they
// change. And it meets the other gateways.
func (l *list) gateway() {
	l.request(subjects.Glance, everywhere, "look at any host")
	l.request(subjects.Query, subjects.Any, "find runs and wait for them")
	l.readRecords()
	l.readCards()
	l.readLogs()
	l.listen()
	l.readQueue()
	l.useQueue()
	l.removeWork()
	runs, shared := l.space.RunsBucket(), l.space.GatewayBucket()
	for _, bucket := range []string{runs, l.space.FleetBucket(), l.space.PipelinesBucket(), l.space.JobsBucket(), shared} {
		stream := subjects.BucketStream(bucket)
		l.ask(api+"CONSUMER.DELETE."+stream+".*", "end a watch")
		l.ask("$JS.FC."+stream+".>", "flow control while it watches")
		if bucket == l.space.FleetBucket() || bucket == runs {
			continue // it reads those anyway
		}
		l.ask(api+"STREAM.INFO."+stream, "find pipelines, jobs and other gateways")
		l.ask(api+"CONSUMER.CREATE."+stream+".>", "follow how they change")
	}
	l.ask(api+"STREAM.MSG.GET."+subjects.BucketStream(shared), "read a code from the leader")
	l.ask(subjects.KeySubject(shared, ">"), "write its card, and codes to sign in with")
}

func (l *list) hearAny(verb subjects.Verb, scope subjects.Scope) {
	l.Subscribe = append(l.Subscribe, Line{Subject: l.space.Request(verb, scope), Queue: subjects.Queue, Why: "its share of the requests to any runner"})
}

// admin is an operator who also owns the streams.
func (l *list) admin() {
	l.viewer()
	l.operator()
	l.useQueue()
	l.ask(api+">", "make, change, purge and delete streams and consumers")
	l.ask(subjects.KeySubject(l.space.RunsBucket(), "*"), "remove records")
	l.ask(subjects.KeySubject(l.space.FleetBucket(), "*"), "forget runners")
	l.ask("$JS.FC.>", "flow control of watches")
}
